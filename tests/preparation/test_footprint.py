"""What is projected of a preparation holds what it finds and what it keeps by value, and not many times as much."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.accumulators.gram import Gram
from headrace.data.chunks import Chunk, Piece
from headrace.engine.splits import Splitter
from headrace.preparation.encoders import ENCODERS
from headrace.preparation.finders import CountFinder, GramFinder, RowFinder, TokenFinder
from headrace.preparation.footprint import fitted_bytes, found_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.accumulators.grouped import GroupedSums

ROWS = 20_000
SPLITTER = Splitter(seed=0, test=0.0, validation=0.0)
CHUNK = Chunk(0, (Piece("a", "a", (0,), ROWS, 0, ()),), ROWS, 1, 1)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    names = pa.array([f"customer-{number:012}" for number in range(ROWS)])
    return pa.table(
        {"name": names, "x": rng.random(ROWS), "z": rng.random(ROWS), "y": rng.integers(0, 2, ROWS)}
    )


def held(sums: GroupedSums) -> int:
    return int(sums.values.nbytes + sums.counts.nbytes + sums.sums.nbytes)


@pytest.mark.parametrize(
    "finder",
    [
        CountFinder("counts", "name", 1_000_000, SPLITTER),
        CountFinder("counts", "name", 1_000_000, SPLITTER, "y", classes=True, folds=5),
        CountFinder("counts", "name", 1_000_000, SPLITTER, "x", folds=5),
        TokenFinder("tokens", "name", ROWS + 2, SPLITTER),
    ],
)
def test_sums_by_value_take_what_is_projected(finder: CountFinder | TokenFinder, table: pa.Table) -> None:
    taken = held(finder.find(table, CHUNK).parts["train"])
    assert taken <= found_bytes(finder, ROWS) <= 2 * taken


def test_cross_products_and_sampled_rows_take_what_is_projected(table: pa.Table) -> None:
    gram = GramFinder(("x", "z"), SPLITTER)
    (found,) = gram.find(table, CHUNK).parts.values()
    assert isinstance(found, Gram)
    matrices = (found.n, found.mean, found.squares, found.products)
    assert found_bytes(gram, ROWS) == sum(each.nbytes for each in matrices)
    rows = RowFinder(("x", "z", "y"), 1_000, ("a test",), SPLITTER, classes=True)
    (sampled,) = rows.find(table, CHUNK).parts.values()
    assert sampled.sample.values.nbytes <= found_bytes(rows, ROWS) == 8 * 4 * 1_000


@pytest.mark.parametrize("folds", [0, 5])
def test_a_fitted_encoding_holds_what_is_projected(folds: int) -> None:
    finder = CountFinder("counts", "name", 1_000_000, SPLITTER, "x" if folds else None, folds=folds)

    def fit() -> list[Any]:
        values = np.random.default_rng(0).random(ROWS)
        learnt = {
            "categories": [f"customer-{number:012}" for number in range(ROWS)],
            "encodings": [values.tolist()],
            "folds": [[(values + fold).tolist()] for fold in range(folds)],
            "rest": [0.5],
        }
        return [learnt, ENCODERS["encode"](learnt, np.array([["a"], ["b"]], dtype=object))]

    taken = traced(fit)
    assert taken <= fitted_bytes(finder, ROWS) <= 2 * taken


def traced(make: Callable[[], Any]) -> int:
    make()  # what it loads does not count
    tracemalloc.start()
    try:
        kept = make()
        taken, _ = tracemalloc.get_traced_memory()
        del kept
    finally:
        tracemalloc.stop()
    return taken
