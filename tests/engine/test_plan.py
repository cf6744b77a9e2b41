"""A plan is arithmetic over footers: it can be checked by eye, and it refuses what would not fit."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from headrace.engine.plan import (
    ALLOCATOR_BYTES,
    COPIES_OF_A_CHUNK,
    MIB,
    PROCESS_BYTES,
    SUMMARY_BYTES,
    TEXT_BYTES,
    VALIDATION_ROWS,
    Plan,
    Reads,
    make_plan,
    merged_at_once,
    project_memory,
    summary_memory,
)
from headrace.errors import InputError


def reads(chunks: int, *, rows: int = 1_000, memory: int = MIB, size: int = 777) -> Reads:
    return Reads(chunks, chunks * rows, size, memory, f"{memory} bytes of a.parquet row group 0", rows)


def plan_of(count: int, *, memory_budget: int = 1024 * MIB, memory: int = MIB) -> Plan:
    return make_plan(
        reads(count, memory=memory),
        reads(count - 1, size=500),
        reads(1, size=600),
        ["a", "b"],
        row_bytes=24,
        epochs=["epoch 1", "epoch 2", "epoch 3"],
        workers=2,
        threads=1,
        memory_budget=memory_budget,
    )


def test_a_run_reads_the_data_once_to_profile_once_an_epoch_and_once_to_test() -> None:
    plan = plan_of(4)
    assert [(each.name, each.chunks, each.rows, each.bytes) for each in plan.passes] == [
        ("profile", 4, 4_000, 777),
        ("epoch 1", 3, 3_000, 500),
        ("epoch 2", 3, 3_000, 500),
        ("epoch 3", 3, 3_000, 500),
        ("test", 1, 1_000, 600),
    ]
    assert (plan.rows, plan.chunks) == (4_000, 4)
    assert plan.to_dict()["passes"][0]["name"] == "profile"


def projected(chunks: int) -> int:
    return project_memory(
        (reads(chunks), reads(chunks, memory=2 * MIB), reads(1)), row_bytes=24, workers=2, threads=1
    )


def test_projected_memory_is_the_sum_in_its_docstring() -> None:
    expected = (
        PROCESS_BYTES + ALLOCATOR_BYTES + COPIES_OF_A_CHUNK * 2 * MIB + 4 * 1_000 * 24 + 2 * 10_000 * 24
    )
    assert projected(10) == expected


@pytest.mark.parametrize("texts", [1_000, 30_000, 33_000, 120_000, 140_000, 500_000])
def test_arrow_tells_texts_apart_within_what_is_planned(texts: int) -> None:
    pool = pa.proxy_memory_pool(pa.system_memory_pool())
    column = pa.array([f"{number:x}" for number in range(texts)])
    coded = pc.dictionary_encode(column, memory_pool=pool)
    assert len(coded.dictionary) == texts
    taken, planned = pool.max_memory(), Reads(1, texts, 0, largest=column.nbytes, texts=texts).at_work
    del coded  # before its pool
    assert planned / 3 < taken <= planned


def test_chunks_of_many_short_texts_need_more_than_their_copies() -> None:
    short = Reads(1, 1_000, 0, largest=14_000, texts=1_000)
    assert short.at_work == 2 * 14_000 + TEXT_BYTES * 1_000 > COPIES_OF_A_CHUNK * 14_000
    assert Reads(1, 1_000, 0, largest=100_000, texts=1_000).at_work == COPIES_OF_A_CHUNK * 100_000


def test_projected_memory_does_not_grow_with_the_number_of_chunks() -> None:
    many = int(VALIDATION_ROWS / 1_000)
    assert projected(100 * many) == projected(many)


def test_a_plan_that_does_not_fit_is_refused_with_figures_and_a_mend() -> None:
    plan_of(4).require_fit()
    with pytest.raises(
        InputError,
        match=r"memory: needs about \d+ MiB .*a\.parquet row group 0.* budget is 512 MiB; raise `memory:`",
    ):
        plan_of(4, memory_budget=512 * MIB, memory=300 * MIB).require_fit()


def test_summaries_of_many_columns_are_projected_and_named() -> None:
    few = summary_memory(reads(8, rows=100_000), 10, 6, workers=1, threads=1)
    assert few == 10 * 6 * (3 + 3) * SUMMARY_BYTES
    wide = make_plan(
        reads(8, rows=100_000), reads(8), reads(8), [f"x{i}" for i in range(10_000)],
        row_bytes=80_000, epochs=["epoch 1"], workers=1, threads=1, memory_budget=1024 * MIB,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"most of it for the summaries of 10,000 columns.*data\.drop"):
        wide.require_fit()


def test_a_profile_is_projected_by_what_one_of_its_passes_holds() -> None:
    slabs = [(f"profile {number} of 2", reads(2, memory=3 * MIB)) for number in (1, 2)]
    plan = make_plan(
        slabs[0][1], reads(2), reads(2), ["a", "b", "c"], row_bytes=24, epochs=["epoch 1"], workers=1,
        threads=1, memory_budget=1024 * MIB, slabs=slabs, width=2, parts=4, beside=reads(2, size=5),
    )  # fmt: skip
    assert [each.name for each in plan.passes] == [
        "profile 1 of 2", "profile 2 of 2", "profile rows", "epoch 1", "test",
    ]  # fmt: skip
    summaries = summary_memory(slabs[0][1], 2, 8, workers=1, threads=1)
    assert plan.memory_projected == PROCESS_BYTES + ALLOCATOR_BYTES + COPIES_OF_A_CHUNK * 3 * MIB + summaries


@pytest.mark.parametrize(("cache", "words"), [(1 << 40, "in place of the data"), (1, "what fits of them")])
def test_a_plan_says_what_will_be_kept_on_disk(cache: int, words: str) -> None:
    plan = make_plan(
        reads(4), reads(4), reads(4), ["a"], row_bytes=24, epochs=["epoch 1", "epoch 2"], workers=1,
        threads=1, memory_budget=1024 * MIB, cache=cache,
    )  # fmt: skip
    assert plan.cached == 4_000 * 24
    assert words in plan.notes[-1]
    assert plan_of(4).cached == 0


def test_what_a_preparation_learns_in_a_pass_of_its_own_is_planned_and_counted() -> None:
    def plan(learnt_again: int) -> Plan:
        return make_plan(
            reads(8), reads(7), reads(1), ["a"], row_bytes=24, epochs=["epoch 1"], workers=1, threads=2,
            memory_budget=1024 * MIB, learnt_again=learnt_again,
        )  # fmt: skip

    with_pass = plan(32 * MIB)
    assert [each.name for each in with_pass.passes] == ["profile", "prepare", "epoch 1", "test"]
    # Two threads merge two into a third each, and three wait in the tree of seven chunks.
    assert merged_at_once(reads(7), workers=1, threads=2) == 3 * 2 + 3
    chunks = 2 * COPIES_OF_A_CHUNK * MIB
    assert with_pass.memory_projected == PROCESS_BYTES + ALLOCATOR_BYTES + chunks + 9 * 32 * MIB
    assert with_pass.largest_at == "most of it for products of tokens, 288 MiB"


def test_what_boosted_trees_hold_while_they_grow_is_planned_in_place_of_chunks() -> None:
    def plan(grown: int) -> Plan:
        return make_plan(
            reads(8), reads(7), reads(1), ["a"], row_bytes=24, epochs=["epoch 1"], workers=1, threads=2,
            memory_budget=1024 * MIB, grown=grown,
        )  # fmt: skip

    assert plan(MIB).memory_projected == plan(0).memory_projected
    assert plan(800 * MIB).memory_projected == PROCESS_BYTES + ALLOCATOR_BYTES + 800 * MIB
    with pytest.raises(
        InputError, match=r"800 MiB for what boosted trees hold of each row.* more `train\.lanes`"
    ):
        plan(800 * MIB).require_fit()
