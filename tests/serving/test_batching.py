from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.serving.batching import MOST_ROWS, Batch, Batcher, split
from headrace.serving.feeds import feeds_of_rows
from headrace.serving.predictor import Predictor

from .conftest import ROW

if TYPE_CHECKING:
    from headrace.packaging.package import Package


@pytest.fixture(scope="module")
def slot(packages: dict[str, Package]) -> Any:
    return SimpleNamespace(predictor=Predictor(packages["onnx"]), version="late@1", arm="champion")


def ask(
    slot: Any, sizes: list[int], *, slots: list[Any] | None = None, seconds: float = 10.0
) -> tuple[list[Any], list[Batch]]:
    batches: list[Batch] = []

    async def together() -> list[Any]:
        batcher = Batcher(batches.append, seconds)
        inputs = slot.predictor.signature.inputs
        jobs = []
        for number, size in enumerate(sizes):
            rows = [
                {**ROW, "size": float(number % 7), "city": "Mu" if number % 3 else "Oslo"}
                for _ in range(size)
            ]
            chosen = slots[number] if slots else slot
            jobs.append(batcher.answer(chosen, f"r{number}", feeds_of_rows(rows, inputs)))
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        batcher.close()
        return answers

    return asyncio.run(together()), batches


def test_what_waits_is_computed_together_and_each_gets_its_own_rows(slot: Any):
    sizes = [1, 3, 1, 20, 2, 1]
    answers, batches = ask(slot, sizes)
    assert [batch.request_rows for batch in batches] == [tuple(sizes)]
    assert batches[0].request_ids == tuple(f"r{number}" for number in range(6))
    for number, size in enumerate(sizes):
        alone, _ = ask(slot, [0] * 0 + [size])
        rows = [{**ROW, "size": float(number % 7), "city": "Mu" if number % 3 else "Oslo"}] * size
        expected = slot.predictor.answer(feeds_of_rows(rows, slot.predictor.signature.inputs))
        np.testing.assert_allclose(answers[number].outputs, expected.outputs, atol=1e-12)
        told = {(each.column, each.check): each.rows.tolist() for each in answers[number].findings}
        assert told == {(each.column, each.check): each.rows.tolist() for each in expected.findings}
        assert len(alone[0].labels) == size


def test_no_batch_has_more_rows_than_allowed_but_a_large_request_alone(slot: Any):
    answers, batches = ask(slot, [MOST_ROWS - 1, 1, 1, MOST_ROWS + 5, 1])
    assert [len(answer.labels) for answer in answers] == [MOST_ROWS - 1, 1, 1, MOST_ROWS + 5, 1]
    assert sorted(len(batch.request_ids) for batch in batches) == [1, 1, 1, 2]
    assert all(sum(batch.request_rows) <= MOST_ROWS or len(batch.request_rows) == 1 for batch in batches)


def test_models_are_not_mixed_and_a_failure_stays_with_its_own(slot: Any):
    def fail(_: Any) -> Any:
        raise ValueError("broken")

    broken = SimpleNamespace(predictor=SimpleNamespace(answer=fail), version="late@2", arm="challenger")
    answers, batches = ask(slot, [1, 1, 1, 90], slots=[slot, broken, slot, broken])
    assert len(batches) == 1
    assert batches[0].request_ids == ("r0", "r2")
    assert isinstance(answers[1], ValueError)
    assert isinstance(answers[3], ValueError)
    assert len(answers[2].labels) == 1


@pytest.mark.parametrize("size", [1, 40])
def test_rows_that_a_model_cannot_take_do_not_fail_the_requests_beside_them(slot: Any, size: int):
    def answer(feeds: Any) -> Any:
        if (feeds["size"] == 1.0).any():  # of the second request
            raise ValueError("infinite")
        return slot.predictor.answer(feeds)

    signature = slot.predictor.signature
    narrow = SimpleNamespace(
        predictor=SimpleNamespace(answer=answer, signature=signature), version="v", arm="champion"
    )
    answers, batches = ask(narrow, [size, size, size])
    assert isinstance(answers[1], ValueError)
    for number in (0, 2):
        rows = [{**ROW, "size": float(number), "city": "Mu" if number % 3 else "Oslo"}] * size
        expected = slot.predictor.answer(feeds_of_rows(rows, signature.inputs))
        np.testing.assert_allclose(answers[number].outputs, expected.outputs, atol=1e-12)
    assert [batch.request_ids for batch in batches] == [("r0",), ("r2",)]


def test_what_a_thread_has_not_done_in_time_is_given_up_and_small_requests_are_answered_meanwhile(slot: Any):
    def wait(_: Any) -> Any:
        time.sleep(0.5)

    slow = SimpleNamespace(predictor=SimpleNamespace(answer=wait), version="late@2", arm="challenger")
    answers, batches = ask(slot, [90, 1], slots=[slow, slot], seconds=0.05)
    assert isinstance(answers[0], TimeoutError)
    assert len(answers[1].labels) == 1
    assert [batch.request_ids for batch in batches] == [("r1",)]


def test_splitting_an_answer_loses_no_finding(slot: Any):
    rows = [{**ROW, "city": "Mu" if number % 2 else "Oslo"} for number in range(10)]
    whole = slot.predictor.answer(feeds_of_rows(rows, slot.predictor.signature.inputs))
    parts = split(whole, [4, 1, 5])
    assert [[finding.rows.tolist() for finding in part.findings] for part in parts] == [
        [[1, 3]],
        [],
        [[0, 2, 4]],
    ]
