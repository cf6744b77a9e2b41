"""A plan is arithmetic over footers: it can be checked by eye, and it refuses what would not fit."""

from __future__ import annotations

import pytest

from headrace.data.dataset import Chunk
from headrace.engine.plan import (
    COPIES_OF_A_CHUNK,
    MIB,
    PREPARED_BYTES_PER_COLUMN,
    PROCESS_BYTES,
    VALIDATION_ROWS,
    Plan,
    make_plan,
    project_memory,
)
from headrace.errors import InputError


def chunks(count: int, *, rows: int = 1_000, memory: int = MIB) -> list[Chunk]:
    return [Chunk(index=i, pieces=(), rows=rows, bytes=10_000, memory=memory) for i in range(count)]


def plan_of(count: int, *, memory_budget: int = 1024 * MIB, memory: int = MIB) -> Plan:
    return make_plan(
        chunks(count, memory=memory),
        ["a", "b"],
        column_bytes=777,
        epochs=3,
        workers=2,
        threads=1,
        memory_budget=memory_budget,
    )


def test_a_run_reads_the_data_once_to_profile_once_an_epoch_and_once_to_test() -> None:
    plan = plan_of(4)
    assert [read.name for read in plan.passes] == ["profile", "epoch 1", "epoch 2", "epoch 3", "test"]
    assert {(read.chunks, read.rows, read.bytes) for read in plan.passes} == {(4, 4_000, 777)}
    assert plan.to_dict()["passes"][0]["name"] == "profile"


def test_projected_memory_is_the_sum_in_its_docstring() -> None:
    row = 2 * PREPARED_BYTES_PER_COLUMN
    expected = PROCESS_BYTES + COPIES_OF_A_CHUNK * MIB + 4 * 1_000 * row + 2 * 10_000 * row
    assert project_memory(chunks(10), 2, workers=2, threads=1) == expected


def test_projected_memory_does_not_grow_with_the_number_of_chunks() -> None:
    many = int(VALIDATION_ROWS / 1_000)
    at_one_size = project_memory(chunks(many), 2, workers=2, threads=1)
    assert project_memory(chunks(100 * many), 2, workers=2, threads=1) == at_one_size


def test_a_plan_that_does_not_fit_is_refused_with_figures_and_a_mend() -> None:
    plan_of(4).require_fit()
    with pytest.raises(
        InputError, match=r"memory: needs about \d+ MiB .* budget is 512 MiB; raise `memory:`"
    ):
        plan_of(4, memory_budget=512 * MIB, memory=300 * MIB).require_fit()
