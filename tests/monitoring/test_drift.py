"""Distances agree with SciPy; drift is told when it is there, and seldom when it is not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from headrace.monitoring import distances
from headrace.monitoring.distances import pooled
from headrace.monitoring.drift import find_drift, psi_limit
from headrace.monitoring.grids import Grid
from headrace.monitoring.recording import tally_table
from headrace.monitoring.tallies import Tally
from headrace.packaging.inputs import to_table
from headrace.packaging.signature import InputColumn, Signature
from headrace.profiling.profile import profile_table

COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=30).filter(
    lambda pairs: all(sum(side) > 0 for side in zip(*pairs, strict=True))
)


def rows(
    n: int, seed: int, *, shift: float = 0.0, cities: tuple[str, ...] = ("Oslo", "Rome", "b")
) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "size": pa.array(rng.normal(10 + shift, 2, n), mask=rng.random(n) < 0.1),
            "count": pa.array(rng.poisson(3, n)),
            "flag": pa.array(rng.random(n) < 0.3),
            "city": pa.array(rng.choice(cities, n)),
            "tag": pa.array([f"t{i}" for i in np.minimum(rng.zipf(1.6, n), 5000)]),
            "at": pa.array(
                rng.integers(1_356_998_400, 1_388_534_400, n).astype("datetime64[s]").astype("datetime64[ms]")
            ),
        }
    )


def made(table: pa.Table) -> tuple[Grid, tuple[InputColumn, ...]]:
    profile = profile_table(table)["all"]
    inputs = tuple(InputColumn(name, column.type, column.kind) for name, column in profile.columns.items())
    return Grid.of(profile, Signature(inputs, "classification", "late", ("no", "yes"))), inputs


@pytest.fixture(scope="module")
def reference() -> tuple[Grid, tuple[InputColumn, ...]]:
    return made(rows(30_000, 0))


def counted(table: pa.Table, reference: tuple[Grid, tuple[InputColumn, ...]]) -> dict[str, Tally]:
    grid, inputs = reference
    return tally_table(to_table(table, inputs), inputs, grid)


@given(COUNTS)
def test_divergence_and_chi_square_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    assert distances.jensen_shannon(a, b) == pytest.approx(distance.jensenshannon(a, b) ** 2, abs=1e-12)
    held = a + b > 0
    if held.sum() > 1:
        expected = stats.chi2_contingency([a[held], b[held]], correction=False)
        statistic, free = distances.chi_square(a, b)
        assert statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
        assert free == expected.dof
        assert distances.chi_square_chance(statistic, free) == pytest.approx(expected.pvalue, abs=1e-9)


@given(COUNTS)
def test_stability_index_is_its_sum(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    p, q = ((side + 0.5) / (side + 0.5).sum() for side in (a, b))
    assert distances.stability_index(a, b) == pytest.approx(sum((p - q) * np.log(p / q)), abs=1e-12)
    assert distances.stability_index(a, a) == 0


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0, 8.0])
def test_distances_of_values_are_those_of_scipy_up_to_a_cell(shift: float) -> None:
    one, other = rows(8000, 1), rows(5000, 2, shift=shift)
    grid, inputs = made(one)
    tally = counted(other, (grid, inputs))["size"]
    found = find_drift(grid.inputs, {"size": tally})["size"]
    a, b = (table["size"].drop_null().to_numpy() for table in (one, other))
    assert found.ks == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1 / 128 + 0.001)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(a, b), rel=0.02, abs=0.02)
    n, m = len(a), len(b)
    asked = distances.kolmogorov_chance(0.02, n, m)
    assert asked == pytest.approx(stats.kstwobign.sf(0.02 * np.sqrt(n * m / (n + m))), rel=1e-9)


def test_a_profile_counts_as_its_rows_do(reference: tuple[Grid, tuple[InputColumn, ...]]) -> None:
    table = rows(6000, 3, shift=0.5, cities=("Oslo", "Rome", "Bergen"))
    profile = profile_table(table)["all"]
    from_rows = counted(table, reference)
    for name, grid in reference[0].inputs.items():
        tally = Tally.of_profile(profile.columns[name], grid)
        assert tally.rows == 6000
        sketch = profile.columns[name].overall.quantiles
        error = (sketch.error if sketch is not None else 0) + 1
        assert np.abs(np.cumsum(tally.counts) - np.cumsum(from_rows[name].counts)).max() <= 2 * error
    assert Tally.of_profile(profile.columns["city"], reference[0].inputs["city"]).unseen == {
        "Bergen": from_rows["city"].unseen["Bergen"]
    }


def test_what_moved_is_told_and_nothing_else(reference: tuple[Grid, tuple[InputColumn, ...]]) -> None:
    table = rows(3000, 4, shift=1.5, cities=("Oslo", "Rome", "b", "Bergen"))
    found = find_drift(reference[0].inputs, counted(table, reference))
    assert {name for name, drift in found.items() if drift.state in {"little", "much"}} == {"size", "city"}
    assert found["size"].state == "much"
    assert found["city"].new[0][0] == "Bergen"
    assert found["city"].unseen == pytest.approx(0.25, abs=0.05)


def test_missing_values_and_the_range_are_watched(reference: tuple[Grid, tuple[InputColumn, ...]]) -> None:
    table = rows(2000, 5)
    count = table["count"].to_numpy().astype(float)
    count[:200] = 1e6
    size = pa.array(table["size"].to_pylist()[:1000] + [None] * 1000)
    table = table.set_column(0, "size", size).set_column(1, "count", pa.array(count))
    found = find_drift(reference[0].inputs, counted(table, reference))
    assert found["size"].why == "missing"
    assert found["size"].missing == pytest.approx(0.55, abs=0.02)
    assert found["count"].why in {"outside", "psi"}
    assert found["count"].outside == pytest.approx(0.1)
    assert found["count"].wasserstein == pytest.approx(1e5, rel=0.01)


@pytest.mark.parametrize("n", [60, 400, 3000])
def test_false_alarms_are_no_more_than_stated(
    n: int, reference: tuple[Grid, tuple[InputColumn, ...]]
) -> None:
    looks, rate = 60, 0.05
    alarms = 0
    for seed in range(looks):
        found = find_drift(reference[0].inputs, counted(rows(n, 1000 + seed), reference), false_alarms=rate)
        alarms += any(drift.chance < rate / len(found) for drift in found.values())
    # one in ten thousand such tests fails by chance when the rate is as stated
    assert alarms <= stats.binom.isf(1e-4, looks, rate)


def test_a_fixed_limit_would_raise_false_alarms_in_small_windows() -> None:
    rng = np.random.default_rng(0)
    q = np.full(10, 0.1)
    indices = np.array([distances.stability_index(rng.multinomial(100, q), q * 1e6) for _ in range(400)])
    assert (indices > 0.1).mean() > 0.2
    assert (indices > psi_limit(100, 1e6, false_alarms=0.01)).mean() < 0.03


def test_of_few_rows_nothing_is_said(reference: tuple[Grid, tuple[InputColumn, ...]]) -> None:
    found = find_drift(reference[0].inputs, counted(rows(20, 6, shift=50), reference))
    assert {drift.state for drift in found.values()} == {""}


@settings(max_examples=20)
@given(st.lists(st.integers(0, 3), min_size=60, max_size=60), st.integers(0, 2**32 - 1))
def test_any_split_counts_the_same(
    reference: tuple[Grid, tuple[InputColumn, ...]], parts: list[int], seed: int
) -> None:
    grid, inputs = reference
    table = rows(60, seed, shift=3, cities=("Oslo", "Bergen"))
    whole = counted(table, (grid, inputs))
    split = [table.filter(pa.array(np.array(parts) == k)) for k in range(4)]
    for name in grid.inputs:
        merged = Tally.empty(grid.inputs[name])
        for part in split:
            merged = merged.merge(counted(part, (grid, inputs))[name])
        assert merged.counts.tolist() == whole[name].counts.tolist()
        assert merged.above == pytest.approx(whole[name].above)
        assert merged.unseen == whole[name].unseen
        again = Tally.from_state(merged.state())
        assert again.state() == merged.state()


def test_names_of_rare_values_are_not_stored(reference: tuple[Grid, tuple[InputColumn, ...]]) -> None:
    table = rows(100, 8, cities=("Oslo",))
    cities = ["Jane Doe"] * 9 + ["Bergen"] * 10 + ["Oslo"] * 81
    tally = counted(table.set_column(3, "city", pa.array(cities)), reference)["city"]
    assert tally.told().unseen == {"Bergen": 10}
    assert tally.counts[-2] == 19


@given(COUNTS)
def test_cells_are_put_together_until_each_is_large_enough(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    x, y = pooled(a, b)
    assert (x.sum(), y.sum()) == (a.sum(), b.sum())
    expected = (x + y) / (x + y).sum() * min(x.sum(), y.sum())
    assert len(x) == 1 or (expected >= 5 - 1e-9).all()
