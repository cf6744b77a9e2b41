"""Permutation importance on a sample: what scikit-learn says in memory of the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.inspection import permutation_importance
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from headrace.errors import WorkflowError

if TYPE_CHECKING:
    from headrace.preparation.fitted import Preparation


def drifting(rows: int = 700) -> pa.Table:
    """A product that no column tells alone, a word that tells, noise; of a moment as well, with gaps."""
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=rows) + np.linspace(0, 1, rows), rng.normal(size=rows)
    word = rng.integers(0, 4, rows)
    score = 2 * a * b + 2 * (word == 1) + rng.normal(0, 0.3, rows)
    return pa.table(
        {
            "a": pa.array(a, mask=rng.random(rows) < 0.05),
            "b": b,
            "noise": rng.normal(size=rows),
            "word": pa.array(np.array(["", "no", "maybe", "yes"])[word], mask=rng.random(rows) < 0.05),
            "when": np.datetime64("2026-01-01", "s") + rng.integers(0, 10**6, rows),
            "amount": pa.array(score, mask=rng.random(rows) < 0.05),
            "late": np.where(score > 0.5, "late", "fine"),
        }
    )


def by_permutation(survey: Any, table: pa.Table, target: str, **how: Any) -> Preparation:
    task = "regression" if target == "amount" else "classification"
    found: Preparation = survey(table, target, task, select={"by": "permutation", **how})
    return found


def in_memory(table: pa.Table, target: str, names: list[str], keys: Any) -> Any:
    """What a user of scikit-learn would write, of rows in the order of the sample."""
    frame = table.to_pandas().iloc[np.argsort(keys)]
    frame = frame[frame[target].notna()]
    X = frame[names].copy()
    X["when"] = X["when"].astype("int64")
    X["word"] = pd.Categorical(X["word"])
    kind, score = HistGradientBoostingRegressor, "r2"
    if target == "late":
        kind, score = HistGradientBoostingClassifier, "neg_log_loss"
    half = len(X) // 2
    model = kind(categorical_features="from_dtype", early_stopping=False, random_state=0)
    with threadpool_limits(limits=1):
        model.fit(X[:half], frame[target][:half])
        found = permutation_importance(
            model, X[half:], frame[target][half:], scoring=score, n_repeats=5, random_state=0
        )
    return found.importances_mean


@pytest.mark.parametrize("target", ["amount", "late"])
def test_importances_are_those_of_scikit_learn(survey, hashes, target):
    names = ["a", "b", "noise", "word", "when"]
    table = drifting().select([*names, target])
    wanted = in_memory(table, target, names, hashes(table).keys)
    p = by_permutation(survey, table, target, keep=1)
    scores = {item.name: float(item.why.split()[1]) for item in p.dropped}
    for name, score in scores.items():
        assert score == pytest.approx(wanted[names.index(name)], rel=1e-3, abs=1e-4)
    assert p.features_in == (names[int(np.argmax(wanted))],)


def test_columns_that_tell_together_stay_and_noise_goes(survey):
    table = drifting().drop_columns(["amount"])
    assert set(by_permutation(survey, table, "late", keep=3).features_in) == {"a", "b", "word"}


def test_a_target_of_one_value_tells_nothing(survey):
    table = drifting(60).select(["a", "b"]).append_column("y", pa.array(["same"] * 60))
    assert len(by_permutation(survey, table, "y", keep=1).features_in) == 1


def test_a_sample_that_was_not_kept_is_asked_for(prepare, survey):
    table = drifting(60).select(["a", "b"])
    for fit in (prepare, survey):
        with pytest.raises(WorkflowError, match="permutation needs a sample"):
            fit(table, select={"by": "permutation", "keep": 1})
