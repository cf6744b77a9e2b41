"""Groups of test rows: cut from a profile, and ranked so that harm comes before noise."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss

from headrace.accumulators.celllosses import CellLosses
from headrace.evaluation.cells import Cells, cells_of, losses_of, ranked
from headrace.profiling.profile import profile_table

N = 2_000


@pytest.fixture(scope="module")
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({
        "x": pa.array(rng.normal(size=N), mask=rng.random(N) < 0.1),
        "flag": rng.random(N) < 0.3,
        "city": pa.array(rng.choice(["a", "b", "ü"], N, p=[0.7, 0.2, 0.1]), mask=rng.random(N) < 0.1),
        "when": pa.array(np.datetime64("2026-01-01T00:00:00", "us") + np.arange(N) * np.timedelta64(1, "h")),
        "same": np.ones(N),
        "note": [f"a note of its own, number {i}, that is longer than a category" for i in range(N)],
    })  # fmt: skip


def test_every_row_is_in_the_cell_that_its_name_says(table):
    cells = cells_of(profile_table(table)["all"], table.column_names, [])
    assert list(cells) == ["x", "flag", "city", "when"]  # a constant and texts say nothing
    city = cells["city"].codes(table["city"])
    said = ["missing" if value is None else value for value in table["city"].to_pylist()]
    assert [cells["city"].names[code] for code in city] == said
    encoded = cells["city"].codes(table["city"].dictionary_encode())
    np.testing.assert_array_equal(encoded, city)
    assert [cells["flag"].names[code] for code in cells["flag"].codes(table["flag"])] == [
        str(value) for value in table["flag"].to_pylist()
    ]
    numbers = cells["x"].codes(table["x"])
    values = table["x"].to_numpy()
    assert ((numbers == len(cells["x"].names) - 1) == np.isnan(values)).all()
    sizes = np.bincount(numbers)[:10]
    assert sizes.min() > 0.8 * sizes.max()
    for code, cut in enumerate(cells["x"].cuts):
        assert values[numbers == code].max() <= cut < values[numbers == code + 1].min()
    assert "2026-01" in cells["when"].names[0]


def test_values_that_the_profile_does_not_name_are_others():
    cells = Cells(("a", "other values", "missing"), values=("a",))
    assert cells.codes(pa.chunked_array([["a", "z", None]])).tolist() == [0, 1, 2]


def test_times_of_a_zone_and_dates_are_cut():
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 29)]
    table = pa.table({"at": pa.array(days, pa.timestamp("ms", "UTC")), "on": pa.array(days, pa.date32())})
    cells = cells_of(profile_table(table)["all"], table.column_names, [])
    for name, each in cells.items():
        assert len(np.unique(each.codes(table[name]))) == 10


def test_columns_that_are_asked_for_come_first_and_are_never_left_out(monkeypatch, table):
    monkeypatch.setattr("headrace.evaluation.cells.MOST_COLUMNS", 1)
    assert list(cells_of(profile_table(table)["all"], ["x", "flag"], ["city", "when"])) == ["city", "when"]


def test_the_mean_of_the_losses_is_that_of_scikit_learn():
    rng = np.random.default_rng(3)
    truth, said = rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50)
    assert losses_of(said, truth, "classification").mean() == pytest.approx(log_loss(truth, said))
    two = truth > 0
    assert losses_of(said[:, 0], two.astype(int), "classification").mean() == pytest.approx(
        log_loss(two, said[:, 0])
    )
    assert losses_of(np.array([1.0, 2.0]), np.array([3.0, 2.0]), "regression").tolist() == [4.0, 0.0]
    assert np.isfinite(losses_of(np.array([0.0, 1.0]), np.array([1, 0]), "classification")).all()


def test_a_large_bad_group_ranks_above_a_small_noisy_one_that_looks_worse():
    rng = np.random.default_rng(4)
    codes = np.repeat([0, 1, 2], [6_000, 3_000, 4])
    loss = rng.exponential(np.array([1.0, 1.4, 3.0])[codes])
    loss[codes == 2] = [9.0, 0.1, 0.2, 8.0]
    cells = {"c": Cells(("good", "bad", "tiny"), values=())}
    found = ranked({"c": CellLosses.of(codes, 3, loss)}, cells, 10)
    first = found[0]
    assert first.value == "bad"
    assert "tiny" not in {each.value for each in found}
    mean = loss.mean()
    assert first.harm == pytest.approx((loss[codes == 1] - mean).sum())
    assert first.share == pytest.approx(first.harm / loss.sum())
    assert first.low > 0


def test_of_equal_groups_none_is_told():
    rng = np.random.default_rng(5)
    losses = CellLosses.of(rng.integers(0, 4, 4_000), 4, rng.exponential(size=4_000))
    cells = {"c": Cells(("a", "b", "other values", "missing"), values=("a", "b"))}
    assert len(ranked({"c": losses}, cells, 10)) <= 1
