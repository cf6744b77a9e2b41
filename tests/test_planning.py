"""Plans from footers: the passes of very wide tables, what each reads, and what that needs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import compiling
from headrace.data.dataset import Dataset
from headrace.data.reading import read_chunk
from headrace.data.storage import remove_tree, write_bytes
from headrace.engine.plan import ALLOCATOR_BYTES, LEADING_BYTES, PROCESS_BYTES, VALIDATION_ROWS
from headrace.engine.source import source_of
from headrace.opening import judged_rows, open_data
from headrace.planning import LED_COPIES, most_texts, plan_run, plan_within
from headrace.training import trees
from headrace.workflow import WorkflowFile, parse_workflow

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.engine.plan import Plan
    from headrace.opening import Opened

MIB = 1 << 20


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    columns = {f"x{i}": rng.normal(size=2_000) for i in range(150)}
    table = pa.table({**columns, "y": rng.integers(0, 2, 2_000)})
    pq.write_table(table, tmp_path / "wide.parquet", row_group_size=500)
    return tmp_path


def workflow(data: Path | str, extra: str = "") -> WorkflowFile:
    return parse_workflow(
        "problem: {name: wide, task: classification, target: y}\n"
        f"data: {{url: '{data}'}}\nmodels: [{{name: m, estimator: sklearn.linear_model.SGDClassifier}}]\n"
        f"train: {{epochs: 1}}\n{extra}"
    )


def test_compiled_loops_give_way_where_memory_is_short(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "WORTHWHILE", 1)
    monkeypatch.setattr(compiling, "LEAST_MEMORY", 1)
    options = workflow(wide)
    opened = open_data(options, 64 * MIB)
    assert opened.native

    def planned(budget: int) -> tuple[Opened, Plan]:
        plan = partial(plan_run, options, workers=1, threads=1, memory_budget=budget)
        return plan_within(opened, plan)

    _, ample = planned(4096 * MIB)
    exact, without = planned(ample.memory_projected)[0], planned(ample.memory_projected - 1)
    assert exact is opened
    assert not without[0].native
    assert without[1].memory_projected == ample.memory_projected - compiling.RESIDENT


@pytest.mark.parametrize("asked", [False, True])
def test_the_columns_of_a_very_wide_table_are_planned_some_at_a_time(wide: Path, *, asked: bool) -> None:
    options = workflow(wide, "checks: {duplicates: true}\n" if asked else "checks: {duplicates: false}\n")
    opened = open_data(options, 64 * MIB)
    plan = plan_run(options, opened, workers=1, threads=1, memory_budget=64 * MIB)
    count = len(opened.slabs)
    assert count > 1
    slabs = [f"profile {number} of {count}" for number in range(1, count + 1)]
    beside = [each.name for each in plan.passes if each.name == "profile rows"]
    assert [each.name for each in plan.passes] == [*slabs, *beside, "epoch 1", "test"]
    assert bool(beside) or not asked
    assert all(each.rows == 2_000 for each in plan.passes)
    target = opened.dataset.column_bytes(["y"])
    read = sum(each.bytes for each in plan.passes if each.name in slabs)
    assert read == opened.profiled.bytes + (count - 1) * target  # every other column once
    assert any("columns are profiled" in note for note in plan.notes)
    assert (
        plan.memory_leading
        > LEADING_BYTES + ALLOCATOR_BYTES + len(opened.profiled.columns) * 6 * opened.detail.bytes
    )
    narrow = plan_run(options, open_data(options, 4096 * MIB), workers=1, threads=1, memory_budget=64 * MIB)
    assert [each.name for each in narrow.passes] == ["profile", "epoch 1", "test"]


@given(
    st.lists(
        st.lists(
            st.sampled_from(["", "a", "bb", "ccc", None]) | st.text(max_size=3), min_size=1, max_size=40
        ),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
    st.integers(1, 1 << 12),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_chunk_has_more_texts_in_a_column_than_are_planned(
    tmp_path: Path, groups: list[list[str | None]], coded: bool, memory: int
) -> None:
    schema = pa.schema({"x": pa.string(), "y": pa.int64()})
    with pq.ParquetWriter(tmp_path / "texts.parquet", schema, use_dictionary=coded) as writer:
        for texts in groups:
            writer.write_table(pa.table({"x": texts, "y": range(len(texts))}, schema=schema))
    dataset = Dataset(str(tmp_path / "texts.parquet"), memory=memory * 64)
    planned = most_texts(dataset, source_of(dataset, ["x", "y"]))
    for chunk in dataset.chunks:
        table = read_chunk(chunk, dataset.schema, ["x"], dictionary=False)
        assert len(table["x"].unique().drop_null()) <= planned <= max(each.rows for each in dataset.chunks)
    assert most_texts(dataset, source_of(dataset, ["y"])) == 0


def test_what_counts_repeated_rows_is_planned(wide: Path) -> None:
    plain, counted = (
        plan_run(options, open_data(options, 4096 * MIB), workers=1, threads=1, memory_budget=4096 * MIB)
        for options in (
            workflow(wide, "checks: {duplicates: false}\n"),
            workflow(wide, "checks: {duplicates: true}\n"),
        )
    )
    # 2,000 rows of two halves of a hash and a count; one of a chunk, and as many as are merged at once.
    assert counted.memory_leading - plain.memory_leading == 2_000 * 24 * LED_COPIES
    assert (counted.memory_projected - plain.memory_projected) % (2_000 * 24) == 0
    assert counted.memory_projected > plain.memory_projected


def test_validation_rows_of_very_wide_tables_are_fewer(wide: Path) -> None:
    options = workflow(wide)
    assert judged_rows(open_data(options, 4 * MIB)) < 2_000
    assert judged_rows(open_data(options, 4096 * MIB)) == VALIDATION_ROWS


def test_what_a_preparation_finds_and_holds_is_planned(wide: Path) -> None:
    plain, chosen = (
        plan_run(options, open_data(options, 4096 * MIB), workers=1, threads=1, memory_budget=4096 * MIB)
        for options in (workflow(wide), workflow(wide, "prepare: {select: {by: permutation, keep: 5}}\n"))
    )
    # 2,000 rows of 150 features and the target with their keys; merged from two into a third, and one more.
    assert chosen.memory_projected - plain.memory_projected == 2_000 * 8 * 152 * 3


def test_threads_of_the_leading_process_hold_what_it_does(wide: Path) -> None:
    options = workflow(wide)
    apart, here = (
        plan_run(
            options,
            open_data(options, 4096 * MIB),
            workers=1,
            threads=1,
            memory_budget=4096 * MIB,
            in_process=each,
        )
        for each in (False, True)
    )
    assert here.memory_projected == apart.memory_projected
    led = apart.memory_leading - LEADING_BYTES - ALLOCATOR_BYTES
    assert here.memory_leading == here.memory_projected + led > here.memory_projected


@pytest.mark.parametrize(
    ("lanes", "workers", "share"), [(1, 3, 1), (4, 2, 1 / 2), (4, 3, 1 / 2), (64, 64, 1 / 64)]
)
def test_lanes_on_several_workers_share_what_boosted_trees_hold(
    wide: Path, monkeypatch: pytest.MonkeyPatch, lanes: int, workers: int, share: float
) -> None:
    monkeypatch.setattr(trees, "ROW_BYTES", MIB)
    options = parse_workflow(
        "problem: {name: wide, task: classification, target: y}\n"
        f"data: {{url: '{wide}', split: {{kind: random, test: 0.2}}}}\n"
        f"models: [{{name: m, estimator: xgboost.XGBClassifier}}]\ntrain: {{lanes: {lanes}}}\n"
    )
    opened = open_data(options, 64 * MIB)
    plan = plan_run(options, opened, workers=workers, threads=1, memory_budget=64 * MIB)
    grown = plan.memory_projected - PROCESS_BYTES - ALLOCATOR_BYTES - 64 * MIB // trees.BINNED_SHARE
    assert grown == pytest.approx(2_000 * 0.8 * share * MIB, abs=1)


@pytest.mark.parametrize("sliced", [False, True])
def test_what_a_store_sends_of_a_chunk_is_counted_for_each_thread(
    wide: Path, monkeypatch: pytest.MonkeyPatch, *, sliced: bool
) -> None:
    if sliced:  # such row groups are streamed
        monkeypatch.setattr("headrace.data.chunks.LARGEST", 100_000)
    write_bytes("memory://wide/wide.parquet", (wide / "wide.parquet").read_bytes())

    def opened_and_planned(url: str) -> tuple[Opened, Plan]:
        options = workflow(url)
        opened = open_data(options, 1024 * MIB)
        return opened, plan_run(options, opened, workers=1, threads=3, memory_budget=1024 * MIB)

    opened, on_disk = opened_and_planned(str(wide))
    assert all(
        (piece.within is not None) == sliced for chunk in opened.dataset.chunks for piece in chunk.pieces
    )
    _, on_store = opened_and_planned("memory://wide")
    sent = 0 if sliced else max(chunk.bytes for chunk in opened.dataset.chunks)
    assert on_store.memory_projected == on_disk.memory_projected + 3 * sent
    remove_tree("memory://wide")
