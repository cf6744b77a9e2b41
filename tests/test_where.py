"""`data.where`: the rows kept are those that a filter in memory keeps, and no row is lost to pruning."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.cluster.config import ClusterFile
from headrace.data.dataset import Dataset
from headrace.data.filters import And, Comparison, Filter, Membership, Missing, Not, Or, Truth, parse_filter
from headrace.data.matching import Span, bind, spans_of
from headrace.data.reading import last_kept, last_read, read_chunk
from headrace.engine.order import row_keys
from headrace.engine.source import source_of
from headrace.errors import InputError, WorkflowError
from headrace.opening import open_data
from headrace.runs import Workflow

if TYPE_CHECKING:
    from pathlib import Path

START = dt.datetime(2026, 1, 1)  # noqa: DTZ001 columns without a zone

ops = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
numbers = st.integers(-3, 3) | st.sampled_from([-0.5, 0.5, 1.5, 300, 2**40, -(2**70), 1e30, float("inf")])
texts = st.sampled_from(["a", "b", "bb", "", "ß", "z\U0001f600"])
dates = st.integers(0, 6).map(lambda day: (START + dt.timedelta(days=day)).date().isoformat())
times = st.integers(0, 12).map(lambda half: (START + dt.timedelta(hours=12 * half)).isoformat())
LITERALS: dict[str, st.SearchStrategy[Any]] = {
    "tiny": numbers,
    "whole": numbers,
    "real": numbers,
    "single": numbers,
    "unsigned": numbers,
    "word": texts,
    "code": texts,
    "day": dates | times,
    "time": times | dates,
    "zoned": times,
    "nano": times,
}
leaves: st.SearchStrategy[Filter] = (
    st.sampled_from(sorted(LITERALS)).flatmap(
        lambda name: (
            st.builds(Comparison, st.just(name), ops, LITERALS[name])
            | st.builds(
                Membership, st.just(name), st.lists(LITERALS[name], min_size=1, max_size=3).map(tuple)
            )
        )
    )
    | st.builds(Missing, st.sampled_from([*LITERALS, "flag", "nested"]))
    | st.just(Truth("flag"))
    | st.builds(Comparison, st.just("flag"), st.sampled_from(["==", "!="]), st.booleans())
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=5,
)


def cells(kind: st.SearchStrategy[Any], rows: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | kind, min_size=rows, max_size=rows) | st.lists(
        kind, min_size=rows, max_size=rows
    ).map(lambda values: sorted(values, key=str))


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 12))
    moments = st.integers(0, 12).map(lambda half: START + dt.timedelta(hours=12 * half))
    reals = st.sampled_from([-1.0, 0.0, 0.5, 1.5, float("nan"), float("inf"), -0.0])
    whole = draw(cells(moments, rows))
    return pa.table({
        "tiny": pa.array(draw(cells(st.integers(-3, 3), rows)), pa.int8()),
        "whole": pa.array(draw(cells(st.integers(-3, 3) | st.just(2**40), rows)), pa.int64()),
        "unsigned": pa.array(draw(cells(st.integers(0, 3) | st.just(2**64 - 1), rows)), pa.uint64()),
        "real": pa.array(draw(cells(reals, rows)), pa.float64()),
        "single": pa.array(draw(cells(reals, rows)), pa.float32()),
        "flag": pa.array(draw(cells(st.booleans(), rows)), pa.bool_()),
        "word": pa.array(draw(cells(texts, rows)), pa.string()),
        "code": pa.array(draw(cells(texts, rows)), pa.string()).dictionary_encode(),
        "day": pa.array([None if m is None else m.date() for m in whole], pa.date32()),
        "time": pa.array(whole, pa.timestamp("ms")),
        "nano": pa.array(whole, pa.timestamp("ns")),
        "zoned": pa.array(whole, pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
        "nested": pa.array([None if m is None else [1] for m in whole], pa.list_(pa.int8())),
    })  # fmt: skip


def truth(tree: Filter, row: dict[str, Any]) -> bool | None:
    """SQL's three values, one row at a time, in plain Python: NaN is missing, unknown stays unknown."""
    if isinstance(tree, Not):
        inner = truth(tree.part, row)
        return None if inner is None else not inner
    if isinstance(tree, And | Or):
        inner_all = [truth(part, row) for part in tree.parts]
        decisive = isinstance(tree, Or)
        return decisive if decisive in inner_all else None if None in inner_all else not decisive
    value = row[tree.column]
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if isinstance(tree, Missing):
        return missing
    if missing:
        return None
    if isinstance(tree, Truth):
        return bool(value)
    wanted: tuple[Any, ...] = tree.values if isinstance(tree, Membership) else (tree.value,)
    if isinstance(value, dt.date):
        # A day is its first moment; all are compared in UTC, of which the naive ones are thought.
        value = dt.datetime.fromisoformat(value.isoformat()).replace(tzinfo=None)
        wanted = tuple(dt.datetime.fromisoformat(each) for each in wanted)
    if isinstance(tree, Membership):
        return value in wanted
    (other,) = wanted
    results = {
        "==": value == other, "!=": value != other, "<": value < other, "<=": value <= other,
        ">": value > other, ">=": value >= other,
    }  # fmt: skip
    return bool(results[tree.op])


@given(tables(), trees, st.integers(1, 4), st.booleans())
@settings(max_examples=80, deadline=None)
def test_the_rows_kept_are_those_of_a_filter_in_memory(
    tmp_path_factory: pytest.TempPathFactory, table: pa.Table, tree: Filter, group: int, dictionary: bool
) -> None:
    root = tmp_path_factory.mktemp("where")
    table = table.append_column("row", pa.array(range(table.num_rows), pa.int64()))
    pq.write_table(table, root / "a.parquet", row_group_size=group)
    rows = table.set_column(
        table.schema.get_field_index("nano"), "nano", table["nano"].cast(pa.timestamp("us"))
    ).to_pylist()
    expected = [row["row"] for row in rows if truth(tree, row) is True]
    data = Dataset(str(root))
    data._filter = tree
    try:
        data._cut()
    except WorkflowError:
        assert expected == []
        return
    all_keys = row_keys(Dataset(str(root)).chunks[0])
    kept: list[int] = []
    for chunk in data.chunks:
        read = read_chunk(chunk, data.schema, ["row"], dictionary=dictionary)
        places = last_kept()
        assert places is not None
        assert (last_read().rows, last_read().kept) == (chunk.rows, read.num_rows)
        assert last_read().bytes == data.column_bytes(["row"], [chunk])
        whole = row_keys(chunk)
        np.testing.assert_array_equal(whole[places], all_keys[read["row"].to_numpy()])
        kept += read["row"].to_pylist()
    assert kept == expected


@given(trees)
@settings(max_examples=20, deadline=None)
def test_nothing_known_means_anything_is_possible(tree: Filter) -> None:
    schema = pa.schema(
        {name: pa.float64() for name in ("real", "single")}
        | {name: pa.int64() for name in ("tiny", "whole", "unsigned")}
        | {"word": pa.string(), "code": pa.string(), "flag": pa.bool_(), "nested": pa.list_(pa.int8())}
        | {"day": pa.date32(), "time": pa.timestamp("s"), "nano": pa.timestamp("ns")}
        | {"zoned": pa.timestamp("us", "UTC")}
    )
    matcher = bind(tree, schema)
    if isinstance(tree, Comparison) and isinstance(tree.value, str):
        assert matcher.may_hold(spans_of({tree.column: Span(3, None)}, 3)) or tree.op == "=="
    assert matcher.outcomes(spans_of({}, 3)) in range(1, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agee >= 18", r"data\.where: there is no column 'agee'; did you mean 'age'\?"),
        (
            'age == "x"',
            r"data\.where: column 'age' is int64 and is compared with 'x'; compare it with a number",
        ),
        ("name > 3", r"data\.where: column 'name' is string and is compared with 3; write \"3\" in quotes"),
        ('when > "soon"', r"data\.where: column 'when' .* compared with 'soon'; write a time as"),
        ("age", r"data\.where: column 'age' is int64 and stands by itself; compare it"),
        ("age >", r"data\.where: a column or a value was expected in place of the end \(character 6\)"),
        ("age == null", r"data\.where: nothing equals null; write `is null`"),
        ("age == name", r"data\.where: compares two columns; compare a column with a value"),
        ("age in []", r"data\.where: an empty list holds no row"),
        ("age > 99", r"data\.where: no row can fulfil it, as the footers of the files tell; widen"),
        ("__import__('os')", r"data\.where: there is no function '__import__'"),
        ("len(name) > 3", r"data\.where: compares what is computed; compare a column with a value"),
        ('name like "a%"', r"data\.where: computes; compare a column with a value"),
        ("(" * 5000 + "age > 1", r"data\.where: is nested deeper than 50 levels"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    table = pa.table({"age": [17, 18], "name": ["a", "b"], "when": pa.array([START, START])})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(WorkflowError, match=message) as caught:
        Dataset(str(tmp_path), where=text)
    assert caught.value.exit_code == 2


def test_row_groups_and_hive_directories_that_cannot_match_are_not_read(tmp_path: Path) -> None:
    for month in (1, 2, 3):
        place = tmp_path / f"month={month}"
        place.mkdir()
        table = pa.table({"x": list(range(100)), "s": ["a"] * 100})
        pq.write_table(table, place / "a.parquet", row_group_size=25)
    whole = Dataset(str(tmp_path))
    data = whole.where("month >= 2 and x >= 60")
    assert (whole.rows, data.rows) == (300, 100)
    assert data.bytes < whole.bytes
    assert [piece.row_groups for chunk in data.chunks for piece in chunk.pieces] == [(2, 3), (2, 3)]
    assert data.fingerprint != whole.fingerprint
    assert "200 of 300 rows lie in row groups that are not read" in data.notes[-1]
    assert sorted(data.to_dask(["s", "month"]).compute()["month"].tolist()) == [2] * 40 + [3] * 40
    assert len(data.to_dask()) == 80
    assert data.head(3)["x"].tolist() == [60, 61, 62]
    assert source_of(data, ["s"]).bytes == data.column_bytes(["x", "month", "s"])


def test_a_border_lets_each_part_leave_out_the_chunks_of_the_other(tmp_path: Path) -> None:
    for day in range(6):
        begin = START + dt.timedelta(days=day)
        hours = [begin + dt.timedelta(hours=hour % 24) for hour in range(300_000)]
        pq.write_table(pa.table({"when": hours}), tmp_path / f"{day}.parquet")
    whole = Dataset(str(tmp_path), memory=256 << 20)
    assert len(whole.chunks) == 1
    data = whole.cut_at("when", START + dt.timedelta(days=4))
    sides = [data.sides(chunk) for chunk in data.chunks]
    assert sides == [(True, False), (False, True)]
    assert [chunk.rows for chunk in data.chunks] == [1_200_000, 600_000]
    # One row more, and the last row group before the border may hold both.
    later = whole.cut_at("when", START + dt.timedelta(days=4, hours=1))
    assert later.sides(later.chunks[-1]) == (True, True)


def test_the_language_is_read_as_it_is_written() -> None:
    assert parse_filter("NOT a = 1 AND `b c` <> 'x' OR c IS NOT NULL") == Or(
        (And((Not(Comparison("a", "==", 1)), Comparison("b c", "!=", "x"))), Not(Missing("c")))
    )
    assert parse_filter("5 < x") == Comparison("x", ">", 5)
    assert parse_filter("x between -1 and 2") == parse_filter("-1 <= x <= 2")
    for a, b in itertools.pairwise(["x in (1, 2)", "x in [1,2]"]):
        assert parse_filter(a) == parse_filter(b)


THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    """Ten days of rows, one file a day, with a known signal; the current directory holds them below ``data``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    parts = []
    for day in range(10):
        x = rng.normal(size=400)
        begin = START + dt.timedelta(days=day)
        part = pa.table({
            "x": x,
            "color": rng.choice(["red", "green"], 400),
            "when": [begin + dt.timedelta(minutes=minute) for minute in range(400)],
            "y": (rng.random(400) < 1 / (1 + np.exp(-2 * x))).astype(int),
        })  # fmt: skip
        pq.write_table(part, tmp_path / "data" / f"{day}.parquet", row_group_size=100)
        parts.append(part)
    return pa.concat_tables(parts)


def workflow(where: str | None, **data: Any) -> Workflow:
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data", "time": "when", **({"where": where} if where else {}), **data},
        "models": [{"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": 1},
        "evaluate": {"bootstrap": 20},
    }
    return Workflow.parse(yaml.safe_dump(document))


def test_a_run_sees_only_the_rows_that_are_wanted(days: pa.Table, tmp_path: Path) -> None:
    job = workflow('color == "red" and when < "2026-01-06T02:00"')
    plan = job.plan(THREADS)
    assert plan.rows == 2_200  # row groups of 100 minutes
    result = job.run(THREADS, "run")
    assert [each["rows"] for each in result.run["passes"]] == [2_200] * 3
    assert [each["bytes"] for each in result.run["passes"]] == [each.bytes for each in plan.passes]
    profile = json.loads((tmp_path / "run" / "profile.json").read_text())
    moment = pa.scalar(START + dt.timedelta(days=5, hours=2), pa.timestamp("us"))
    wanted = pc.and_(pc.equal(days["color"], "red"), pc.less(days["when"], moment))
    assert profile["rows"] == pc.sum(wanted).as_py()


def test_rows_keep_their_part_when_a_filter_is_added(days: pa.Table) -> None:
    for where in (None, "x > 0"):
        opened = open_data(workflow(where).options, 1 << 30)
        (chunk,) = opened.profiled.chunks
        table = opened.profiled.parts[0].read()
        kept = last_kept()
        if where is None:
            parts = opened.splitter.parts(table, chunk)
        else:
            assert kept is not None
            filtered = opened.splitter.parts(table, replace(chunk, rows=len(kept), kept=kept))
            np.testing.assert_array_equal(filtered, parts[kept])
    assert days.num_rows == len(parts)


@pytest.mark.parametrize("cut", ["2026-01-08", "2026-01-08T01:00"])
def test_passes_leave_out_the_chunks_of_the_other_part(
    days: pa.Table, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.data.chunks.SMALLEST", 12_000)
    job = workflow(None, split={"kind": "time", "test_from": cut, "validation": 0.2})
    opened = open_data(job.options, 1)
    everything = sum(len(file.row_groups) for file in opened.dataset.files) * 100
    assert opened.profiled.rows == everything == days.num_rows
    # What is left out lies wholly on the other side; what is read in vain is part of a chunk at the border.
    assert 2_800 <= opened.trained.rows <= 3_300
    assert 1_100 <= opened.tested.rows <= 1_700
    indices = {chunk.index for chunk in (*opened.trained.chunks, *opened.tested.chunks)}
    assert indices == set(range(len(opened.dataset.chunks)))


def test_a_calibration_expects_a_time_of_every_pass(days: pa.Table) -> None:
    job = workflow("x > -1", split={"kind": "time", "test_from": "2026-01-08"})
    assert all(each.seconds is None for each in job.plan(THREADS).passes)
    plan = job.plan(THREADS, calibrate=True)
    assert [each.name for each in plan.passes] == ["profile", "epoch 1", "test"]
    assert all(each.seconds is not None and 0 < each.seconds < 60 for each in plan.passes)
    assert days.num_rows == plan.rows


def test_a_plan_reads_footers_only(days: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("data were read")

    monkeypatch.setattr("headrace.data.reading._read_piece", refuse)
    assert workflow("x > 0").plan(THREADS).rows == days.num_rows


def test_a_row_group_that_does_not_fit_is_named(days: pa.Table) -> None:
    plan = replace(workflow(None).plan(THREADS), memory_budget=64 << 20)
    with pytest.raises(InputError, match=r"MiB decoded from .*data/0\.parquet row group 0") as caught:
        plan.require_fit()
    assert "memory:" in str(caught.value)
    assert days.num_rows
