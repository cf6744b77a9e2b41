"""What a model says along a column is what scikit-learn's brute force says of the pipeline."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.inspection import partial_dependence as theirs

from headrace.evaluation import dependence
from headrace.evaluation.dependence import partial_dependence, points_of


@pytest.mark.parametrize("target", ["label", "level", "amount"])
@pytest.mark.parametrize("weight", [False, True])
def test_means_and_lines_are_those_of_scikit_learn(small, target, weight, monkeypatch):
    monkeypatch.setattr(dependence, "POINTS", 5)
    model = small(target, weight=weight)
    for found in partial_dependence(model.asked, ["x", "z"]):
        wanted = theirs(
            model.pipeline,
            model.frame,
            [found.column],
            kind="average" if weight else "both",
            method="brute",
            sample_weight=model.asked.weight if weight else None,
            custom_values={found.column: np.array(found.grid)},
        )
        np.testing.assert_allclose(found.mean, wanted["average"], rtol=1e-9, atol=1e-12)
        if target == "level":
            assert found.outputs == ("0", "1", "2")
            assert found.lines == ()
        elif not weight:
            lines = wanted["individual"][0]
            np.testing.assert_allclose(found.lines, lines[: len(found.lines)], rtol=1e-9, atol=1e-12)
        assert len(found.grid) == 5


def test_categories_and_flags_are_set_to_each_of_their_values(small):
    model = small("amount")
    city, flag = partial_dependence(model.asked, ["city", "flag"])
    assert city.grid == ("a", "b", "c", None)
    assert set(flag.grid) == {"False", "True"}
    assert city.kind == flag.kind == "category"
    for value, mean in zip(city.grid, city.mean[0], strict=True):
        fixed = model.frame.assign(city=np.full(len(model.frame), value, object))
        assert mean == pytest.approx(model.pipeline.predict(fixed).mean(), rel=1e-9)


def test_times_are_written_and_followed(small):
    (when,) = partial_dependence(small("amount").asked, ["when"])
    assert when.kind == "datetime"
    assert list(when.grid) == sorted(map(str, when.grid))
    assert str(when.grid[0]).startswith("2026-01-01T")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.0, 1.0, None]),
        pa.array([None, None], pa.float64()),
        pa.array(["a text", "another", "a third"]),
        pa.array([], pa.float64()),
    ],
)
def test_columns_without_points_are_passed_over(column):
    assert points_of(column) is None


def test_points_are_values_of_the_column_between_its_hundredths():
    column = pa.array([*range(1000), None, None], pa.int32())
    points = points_of(column)
    assert points is not None
    assert points.type == pa.int32()
    assert points[0].as_py() == 10
    assert points[-1].as_py() == 989
    dates = points_of(pa.array(np.arange("2020-01-01", "2021-01-01", dtype="datetime64[D]")))
    assert dates is not None
    assert pa.types.is_date32(dates.type)


def test_infinities_are_no_points():
    points = points_of(pa.array([np.inf, -np.inf, np.nan, 1.0, 2.0]))
    assert points is not None
    assert points.to_pylist() == [1.0, 2.0]
