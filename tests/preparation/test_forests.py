"""Outliers among several numbers at once: those of scikit-learn's isolation forest in memory are left out of training."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import IsolationForest

from headrace.errors import DataError, WorkflowError
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import Preparation


def kept(p: Preparation, table: pa.Table) -> Any:
    """Tell which rows may be trained on."""
    found = CompiledPreparation(p).keeps(table)
    assert found is not None
    return found


def drifting(rows: int = 900, gaps: float = 0.1) -> pa.Table:
    """Two numbers that go together and drift, with gaps and a few pairs that stand apart; and a number far from them."""
    rng = np.random.default_rng(8)
    a = rng.normal(size=rows) + np.linspace(0, 2, rows)
    b = a + rng.normal(0, 0.2, rows)
    b[::97] = -b[::97] + 6
    return pa.table(
        {
            "a": pa.array(a, mask=rng.random(rows) < gaps),
            "b": pa.array(b, mask=rng.random(rows) < gaps),
            "far": rng.normal(1e4, 1.0, rows),
            "word": np.array(["x", "y"])[rng.integers(0, 2, rows)],
        }
    )


@pytest.mark.parametrize(("names", "most"), [(["a", "b", "far"], 10_000), (["a", "b"], 300)])
def test_rows_that_are_left_out_are_the_outliers_of_scikit_learn(survey, hashes, names, most):
    table = drifting()
    asked: dict[str, Any] = {"contamination": 0.05, "sample": most}
    p = survey(table, isolation_forest=asked if len(names) == 3 else {**asked, "columns": names})
    # The same forest, of the same rows in the same order, in memory.
    frame = table.select(names).to_pandas()
    X = frame.fillna(frame.mean()).to_numpy()
    forest = IsolationForest(contamination=0.05, random_state=0).fit(X[np.argsort(hashes(table).keys)[:most]])
    again = Preparation.from_dict(json.loads(p.to_json()))
    assert again == p
    stay = kept(again, table)
    np.testing.assert_array_equal(stay, forest.predict(X) == 1)
    assert 0.01 < np.mean(~stay) < 0.1
    assert kept(again, table.slice(0, 0)).tolist() == []
    (note,) = p.notes
    assert note.startswith(f"{', '.join(names)}: about 5.00% of the training rows")
    assert f"{min(most, 900)} sampled" in note


def test_a_value_that_is_no_number_is_as_missing(survey):
    table = drifting(gaps=0.0)
    p = survey(table, isolation_forest={"columns": ["a", "b"]})
    absent, no_number = (
        table.slice(0, 20).set_column(0, "a", pa.array(values, pa.float64()))
        for values in ([None] * 20, [np.nan] * 20)
    )
    assert kept(p, absent).tolist() == kept(p, no_number).tolist()


def test_values_beyond_a_tree_lie_outside(survey):
    table = drifting()
    p = survey(table, isolation_forest={"columns": ["a", "b"]})
    assert kept(p, table.slice(0, 1).set_column(0, "a", pa.array([1e300]))).tolist() == [False]


def test_columns_that_are_named_need_not_become_features(survey):
    table = drifting()
    p = survey(table, isolation_forest={"columns": ["a", "b"]}, columns={"a": "drop"})
    assert "a" not in p.features_in
    assert not kept(p, table).all()


def test_what_is_no_number_is_refused(survey, prepare):
    table = drifting(60)
    for asked, match in (
        ({"columns": ["word"]}, "not a number"),
        ({"columns": ["nobody"]}, "there is no column 'nobody'"),
    ):
        with pytest.raises(WorkflowError, match=match):
            survey(table, isolation_forest=asked)
    with pytest.raises(WorkflowError, match="no number to look at"):
        survey(table.select(["word"]), isolation_forest={})
    with pytest.raises(WorkflowError, match="say it in prepare:"):
        prepare(table, isolation_forest={})
    huge = table.append_column("huge", pa.array(np.where(np.arange(60) == 7, 1e300, np.arange(60.0))))
    with pytest.raises(DataError, match="column 'huge': holds values that the float32"):
        survey(huge, isolation_forest={})
