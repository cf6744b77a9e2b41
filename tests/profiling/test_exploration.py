"""Exploration on real Parquet and a real cluster, held against pandas, scipy and scikit-learn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from headrace.data.dataset import Dataset
from headrace.engine.splits import Splitter
from headrace.errors import InputError
from headrace.exploring import explore
from headrace.profiling.components import principal_components
from headrace.profiling.exploration import Exploration, finders_for
from headrace.profiling.explorers import AbsenceFinder, SampleFinder, TrendFinder
from headrace.profiling.measure import profile_dataset
from headrace.profiling.outliers import outliers
from headrace.profiling.pairs import Pairs, find_pairs, measured, sampled
from headrace.profiling.profile import Profile, profile_table
from headrace.profiling.survey import dump_survey, load_survey
from headrace.report.exploration import explore as draw

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 12_000


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    city = rng.choice(["Bern", "Basel", "Genf"], ROWS, p=[0.5, 0.3, 0.2])
    age = rng.normal(40, 12, ROWS)
    income = age * 100 + rng.normal(0, 500, ROWS)
    age[rng.random(ROWS) < 0.1] = np.nan
    hours = np.sort(rng.integers(0, 24 * 90, ROWS))
    return pd.DataFrame(
        {
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h"),
            "city": city,
            "canton": pd.Series(city).map({"Bern": "BE", "Basel": "BS", "Genf": "GE"}),
            "age": age,
            "income": np.where(city == "Genf", income + 4000, income),
            "noise": rng.normal(size=ROWS),
            "member": rng.random(ROWS) < 0.3,
            "spare": np.where(rng.random(ROWS) < 0.5, np.nan, 1.0) * rng.integers(0, 9, ROWS),
            "key": [f"row {i}" for i in range(ROWS)],
            "late": (rng.random(ROWS) < 0.2 + 0.4 * (city == "Basel") * (hours > 1000)).astype(np.int8),
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("people")
    whole = frame()
    for part in range(3):
        table = pa.Table.from_pandas(whole[part::3], preserve_index=False)
        pq.write_table(table, folder / f"{part}.parquet", row_group_size=1500)
    return str(folder), whole


@pytest.fixture(scope="module")
def explored(data: tuple[str, pd.DataFrame], threads: Any) -> tuple[Profile, Exploration]:
    dataset = Dataset(data[0])
    finders = finders_for(dataset.schema, rows=dataset.rows, target="late")
    survey = profile_dataset(threads, dataset, target="late", finders=finders)
    return survey.whole, Exploration.of(survey.findings, finders)


@pytest.fixture(scope="module")
def pairs(explored: tuple[Profile, Exploration]) -> Pairs:
    return find_pairs(*explored)


def test_pearson_is_exact_over_all_rows(explored, data):
    products = explored[1].products
    assert products is not None
    names = [name for name in products.names if name != "member"]
    at = [products.names.index(name) for name in names]
    expected = data[1][names].corr().to_numpy()
    np.testing.assert_allclose(products.correlation()[np.ix_(at, at)], expected, atol=1e-9)


def test_sample_is_of_the_stated_size_and_its_interval_holds_the_truth(explored, pairs, data):
    assert explored[1].sample_rows == 10_000
    (pair,) = (p for p in pairs.strongest if {p.first, p.second} == {"age", "income"})
    truth = data[1].age.corr(data[1].income, method="spearman")
    assert 0 < pair.half < 0.05
    assert abs(pair.value - truth) <= 1.5 * pair.half
    assert pair.pearson == pytest.approx(data[1].age.corr(data[1].income), abs=1e-9)


def test_categories_keep_their_labels_through_the_sample(explored, pairs, data):
    columns = sampled(*explored)
    city = columns["city"]
    assert city.codes is not None
    counts = dict(zip(city.labels, np.bincount(city.codes).tolist(), strict=True))
    shares = data[1].city.value_counts(normalize=True)
    assert {name: counts[name] / 10_000 for name in shares.index} == pytest.approx(shares.to_dict(), abs=0.02)
    same = measured(city, columns["canton"])
    assert same.measure == "Cramér's V"
    assert same.value == pytest.approx(1.0, abs=1e-3)
    assert "key" not in columns  # a key goes with nothing
    assert (pairs.strongest[0].first, pairs.strongest[0].second) == ("canton", "city")


def test_what_goes_with_the_target_is_ranked_by_information(pairs):
    first = [tie.pair.first if tie.pair.second == "late" else tie.pair.second for tie in pairs.ties[:2]]
    assert set(first) == {"city", "canton"}
    assert all(tie.information_half > 0 for tie in pairs.ties)
    noise = [tie for tie in pairs.ties if "noise" in (tie.pair.first, tie.pair.second)]
    assert all(tie.information < 0.005 for tie in noise)


def test_pairs_are_a_finite_document(pairs):
    document = json.loads(json.dumps(pairs.result(), allow_nan=False))
    assert document["sample_rows"] == 10_000
    assert document["strongest"][0]["columns"] == ["canton", "city"]


def test_trend_is_the_groupby_of_pandas(explored, data):
    trend = explored[1].trend
    assert trend is not None
    assert (trend.grain, explored[1].time) == ("day", "when")
    days = data[1].groupby(data[1].when.dt.floor("D"))
    assert trend.rows.tolist() == days.size().tolist()
    assert trend.classes["1"].tolist() == days.late.sum().tolist()
    result = trend.result()
    np.testing.assert_allclose(result["mean"]["income"], days.income.mean(), rtol=1e-9)
    missing = data[1].age.isna().groupby(data[1].when.dt.floor("D")).mean()
    np.testing.assert_allclose(result["missing"]["age"], missing)


def test_missing_values_are_counted_together(explored, data):
    absences = explored[1].absences
    assert absences is not None
    i, j = absences.names.index("age"), absences.names.index("spare")
    assert absences.joint[i, j] == int((data[1].age.isna() & data[1].spare.isna()).sum())
    assert absences.complete == int(data[1].notna().all(axis=1).sum())


def test_principal_components_are_those_of_scikit_learn_where_nothing_is_missing():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 4)) @ rng.normal(size=(4, 4)) * [1, 10, 100, 0.1]
    from headrace.accumulators.gram import Gram

    found = principal_components(Gram.of(("a", "b", "c", "d"), X))
    fitted = PCA().fit(StandardScaler().fit_transform(X))
    assert found is not None
    assert found.complete
    np.testing.assert_allclose(found.shares, fitted.explained_variance_ratio_, atol=1e-12)
    np.testing.assert_allclose(np.abs(found.loadings), np.abs(fitted.components_), atol=1e-9)
    without = principal_components(Gram.of(("a", "b", "c", "d"), X), without="d")
    assert without is not None
    assert without.names == ("a", "b", "c")
    assert principal_components(Gram.of(("a", "b"), np.ones((5, 2)))) is None


def test_outliers_by_each_rule_are_within_their_error(data):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=60_000), rng.normal(size=500) * 30])
    summary = profile_table(pa.table({"x": x}))["all"].columns["x"].overall
    found = outliers(summary)
    assert [each.rule for each in found] == ["1.5 IQR", "3 IQR", "z > 3", "p1 - p99"]
    for each in found:
        truth = float(((x < each.low) | (x > each.high)).mean())
        assert abs(each.share - truth) <= each.error
        assert each.error < 0.005
    few = profile_table(pa.table({"x": [1, 1, 2, 2, 3, 3, 50]}))["all"].columns["x"].overall
    assert outliers(few)[0].error == 0.0
    assert outliers(few)[0].share == pytest.approx(1 / 7)
    assert outliers(profile_table(pa.table({"x": [1.0, 1.0]}))["all"].columns["x"].overall) == ()


def test_in_a_run_only_training_rows_are_looked_at(data, threads):
    dataset = Dataset(data[0])
    splitter = Splitter(seed=3, test=0.3, validation=0.2)
    finders = finders_for(dataset.schema, target="late", splitter=splitter)
    survey = profile_dataset(threads, dataset, finders=finders)
    found = Exploration.of(survey.findings, finders)
    assert found.absences is not None
    assert found.trend is not None
    rows = found.sample_rows
    assert rows == found.absences.rows == found.trend.rows.sum()
    assert found.products is not None
    assert found.products.n.max() == rows
    assert 0.5 * ROWS < rows < 0.62 * ROWS


def test_a_run_over_very_many_rows_looks_at_a_share_of_them(data, threads, monkeypatch):
    monkeypatch.setattr("headrace.profiling.exploration.RUN_ROWS", 3000)
    dataset = Dataset(data[0])
    splitter = Splitter(seed=3, test=0.5)
    finders = finders_for(dataset.schema, rows=dataset.rows, target="late", splitter=splitter)
    survey = profile_dataset(threads, dataset, target="late", finders=finders)
    (finder,) = finders
    again = load_survey(dump_survey(survey), classes={finder.name: finder.finding})
    found, read = (Exploration.of(each.findings, finders) for each in (survey, again))
    assert not found.rows_exact
    assert not found.products_exact
    assert found.trend is not None
    assert found.absences is not None
    assert found.trend.rows.sum() == found.absences.rows == pytest.approx(1500, rel=0.15)
    assert read.trend is not None
    assert read.trend.state() == found.trend.state()
    view = draw(survey.whole, found)
    assert "of about a million rows" in view.how
    assert all("exact" not in panel.text for panel in view.timeline)


def test_rows_do_not_depend_on_the_workers_or_the_chunks(data, threads):
    def state(memory: int) -> Any:
        dataset = Dataset(data[0], memory=memory)
        finders = (SampleFinder(("city", "age"), 500),)
        return profile_dataset(threads, dataset, finders=finders).findings["explored sample"].state()

    assert state(1 << 30) == state(1 << 22)


def test_a_filter_leaves_enough_rows_for_the_sample(data):
    _, found = explore(f"{data[0]}", "late", where='city == "Genf"')
    assert found.sample_rows == int((frame().city == "Genf").sum())


def test_wide_data_are_looked_at_in_bounded_memory():
    schema = pa.schema([(f"c{i}", pa.float64()) for i in range(10_000)])
    sample, absences, products = finders_for(schema, rows=10**9, target="c9000")
    assert isinstance(sample, SampleFinder)
    assert isinstance(absences, AbsenceFinder)
    assert sample.columns[0] == "c9000"
    assert len(sample.columns) * sample.size <= 2_000_000
    assert len(absences.columns) == 200
    assert len(products.columns) == 48


def test_of_very_many_rows_products_are_of_a_share_with_its_interval(data, threads, monkeypatch):
    monkeypatch.setattr("headrace.profiling.exploration.PRODUCT_ROWS", 3000)
    dataset = Dataset(data[0])
    finders = finders_for(dataset.schema, rows=dataset.rows)
    survey = profile_dataset(threads, dataset, finders=finders)
    found = Exploration.of(survey.findings, finders)
    assert found.products is not None
    assert not found.products_exact
    assert found.products.n.max() == pytest.approx(3000, rel=0.1)
    columns = sampled(survey.whole, found)
    pair = measured(columns["income"], columns["noise"], found)
    assert pair.pearson is not None
    assert abs(pair.pearson - data[1].income.corr(data[1].noise)) < 2 * pair.pearson_half < 0.1


def test_time_that_is_none_is_refused(data):
    with pytest.raises(InputError, match=r"columns with times are when"):
        explore(data[0], time="city")
    with pytest.raises(InputError, match="the data have no times"):
        finders_for(pa.schema([("x", pa.int64())]), time="x")


@pytest.mark.parametrize(
    "times",
    [
        pa.array([0, 1, None, 400], pa.date32()),
        pa.array([0, 86_400_000, None, 400 * 86_400_000], pa.date64()),
        pa.array([0, 86_400, None, 400 * 86_400], pa.timestamp("s")),
        pa.array([0, 86_400 * 10**9, None, 400 * 86_400 * 10**9], pa.timestamp("ns", tz="UTC")),
    ],
    ids=lambda times: str(times.type),
)
def test_trend_follows_every_type_of_time(times, tmp_path: Path, threads):
    pq.write_table(pa.table({"t": times, "x": [1.0, None, 3.0, float("nan")]}), tmp_path / "t.parquet")
    finder = TrendFinder("t", ("x",))
    trend: Any = profile_dataset(threads, Dataset(str(tmp_path)), finders=(finder,)).findings[
        "explored trend"
    ]
    assert trend.grain == "hour"
    assert trend.periods.tolist() == [0, 24, 9600]
    assert trend.missing[:, 0].tolist() == [0, 1, 1]


def test_nothing_and_hostile_tables_are_explored(tmp_path: Path, threads):
    table = pa.table(
        {
            "null": pa.nulls(200, pa.float64()),
            "constant": np.ones(200),
            "infinite": np.full(200, np.inf),
            "dictionary": pa.array(["a", None] * 100).dictionary_encode(),
            "flag": pa.array([True, None] * 100),
            "list": pa.array([[1]] * 200),
            "big": pa.array(np.arange(200, dtype=np.uint64) + np.uint64(2**63)),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    dataset = Dataset(str(tmp_path))
    finders = finders_for(dataset.schema, rows=200)
    survey = profile_dataset(threads, dataset, finders=finders)
    found = find_pairs(survey.whole, Exploration.of(survey.findings, finders))
    assert np.isfinite(np.nan_to_num(found.values)).all()


@pytest.mark.parametrize("words", [["b", "a", None], [f"word {i}" for i in range(500)]])
def test_a_sample_of_coded_words_is_that_of_the_words(words):
    rng = np.random.default_rng(0)
    at = pa.array(rng.integers(0, len(words), 300), mask=rng.random(300) < 0.1)
    coded = pa.DictionaryArray.from_arrays(at, pa.array(words))  # a null is an index, or a word
    keys = rng.integers(0, 2**63, 300).astype(np.uint64)
    finder = SampleFinder(("x",), 200)
    columns = (pa.chunked_array([coded.slice(0, 120), coded.slice(120)]), coded.cast(pa.string()))
    first, second = (finder.look(pa.table({"x": column}), keys) for column in columns)
    np.testing.assert_array_equal(first.values, second.values)
    assert np.isnan(first.values).any()
