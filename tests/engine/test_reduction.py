"""A reduce pass that ends after any commit goes on from it, to the same state, with every row counted once."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.accumulators import merge_tree
from headrace.data.dataset import Dataset
from headrace.data.reading import ReadCount
from headrace.engine import spans
from headrace.engine.commits import Form, PassRecord
from headrace.engine.events import ChunkDone, Event
from headrace.engine.ledger import Ledger
from headrace.engine.passes import Reader
from headrace.engine.reduction import MergeTree, Reduction
from headrace.engine.source import Reading, Source, source_of

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from distributed import Client

    from headrace.data.dataset import Chunk

CHUNKS = 11
ROWS = 1_000


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    directory = tmp_path_factory.mktemp("reduction")
    for index in range(CHUNKS):
        wide = {f"fill{i}": np.zeros(ROWS) for i in range(600)}
        pq.write_table(pa.table({"x": np.arange(ROWS), **wide}), directory / f"part-{index:03}.parquet")
    made = Dataset(str(directory), memory=64 << 20)
    assert len(made.chunks) == CHUNKS
    return made


def trace(_table: pa.Table, chunk: Chunk) -> str:
    return str(chunk.index)


def pair(left: str, right: str) -> str:
    return f"({left}{right})"


def dump(state: str) -> list[bytes]:
    return [state.encode()]


def load(pieces: list[bytes]) -> str:
    return b"".join(pieces).decode()


class StoppedError(Exception):
    """What ends a pass before its time."""


@pytest.mark.parametrize("last", [1, 4, 6, 10])
def test_a_reduction_stopped_after_some_chunks_goes_on_to_the_same_tree(
    threads: Client, dataset: Dataset, tmp_path: Path, last: int
) -> None:
    seen: list[ChunkDone] = []

    def stop(event: Event) -> None:
        if isinstance(event, ChunkDone):
            seen.append(event)
            if len(seen) == last:
                raise StoppedError

    url, form = str(tmp_path / "ledger"), Form(dump, load)
    source = source_of(dataset, ["x"])
    with pytest.raises(StoppedError):
        Reader(threads, [stop], Ledger(url, interval=0.0)).reduce(
            source, trace, pair, name="profile", form=form
        )
    ledger = Ledger(url, interval=0.0)
    known = ledger.state.passes.get("profile")
    assert known is None or known.body["record"]["rows"] == known.body["position"] * ROWS
    reader = Reader(threads, ledger=ledger)
    merged = reader.reduce(source, trace, pair, name="profile", form=form)
    assert merged == merge_tree([str(i) for i in range(CHUNKS)], pair)
    (record,) = reader.records
    assert (record.rows, record.chunks) == (CHUNKS * ROWS, CHUNKS)
    again = Reader(threads, ledger=Ledger(url))
    assert again.reduce(source, trace, pair, name="profile", form=form) == merged


TINY = 60


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """One small chunk, many times."""
    directory = tmp_path_factory.mktemp("tiny")
    pq.write_table(pa.table({"x": [1.0, 2.0]}), directory / "one.parquet")
    once = source_of(Dataset(str(directory)), ["x"])
    return replace(once, chunks=tuple(replace(once.chunks[0], index=number) for number in range(TINY)))


@pytest.mark.parametrize("last", [7, 20])
def test_a_reduction_stopped_among_spans_goes_on_to_the_same_tree(
    threads: Client, tiny: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    monkeypatch.setattr(spans, "TASK_SECONDS", 1_000.0)
    seen: list[ChunkDone] = []

    def stop(event: Event) -> None:
        if isinstance(event, ChunkDone):
            seen.append(event)
            if len(seen) == last:
                raise StoppedError

    url, form = str(tmp_path / "ledger"), Form(dump, load)
    with pytest.raises(StoppedError):
        Reader(threads, [stop], Ledger(url, interval=0.0)).reduce(
            tiny, trace, pair, name="profile", form=form
        )
    ledger = Ledger(url, interval=0.0)
    known = ledger.state.passes.get("profile")
    assert known is None or known.body["record"]["rows"] == known.body["position"] * 2
    reader = Reader(threads, ledger=ledger)
    merged = reader.reduce(tiny, trace, pair, name="profile", form=form)
    assert merged == merge_tree([str(i) for i in range(TINY)], pair)
    assert (reader.records[0].rows, reader.records[0].chunks) == (2 * TINY, TINY)
    assert max(event.rows for event in seen) > 2


class Ended:
    """A future whose task has run already; when the pass hears of it is drawn."""

    numbers = itertools.count()

    def __init__(self, value: Any) -> None:
        self.key, self.value = next(self.numbers), value

    def result(self) -> Any:
        return self.value


class AtOnce:
    """In place of a client: submitted tasks run at once."""

    loop = object()

    def submit(self, function: Any, *given: Any, pure: bool) -> Ended:
        assert not pure
        return Ended(function(*(each.value if isinstance(each, Ended) else each for each in given)))

    def gather(self, futures: list[Ended]) -> list[Any]:
        return [each.value for each in futures]


class Drawn:
    """In place of `Arrivals`: futures end in any order."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.pending: list[Ended] = []

    def add(self, future: Ended) -> None:
        self.pending.append(future)

    def take(self) -> list[Ended]:
        assert self.pending, "a pass waits only while something is under way"
        self.rng.shuffle(self.pending)
        left = self.rng.randrange(len(self.pending))
        ended, self.pending = self.pending[left:], self.pending[:left]
        return ended


class Now:
    """In place of `Commits`: a commit is due with a probability."""

    def __init__(self, rng: random.Random, often: float) -> None:
        self.rng, self.often = rng, often
        self.positions: list[int] = []

    def due(self) -> bool:
        return self.rng.random() < self.often

    def dumps(self, states: list[Ended]) -> list[Ended]:
        return [Ended([each.value]) for each in states]

    def root(self, pieces: list[str]) -> Ended:
        return Ended(pieces[0])

    def commit(self, record: PassRecord, position: int, _payloads: dict[str, str]) -> None:
        assert record.chunks == position
        self.positions.append(position)


@given(
    total=st.integers(1, 60),
    begun=st.integers(0, 60),
    threads=st.integers(1, 4),
    often=st.floats(0, 1),
    rng=st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_commits_that_take_their_time_never_leave_a_pass_waiting_for_nothing(
    total: int, begun: int, threads: int, often: float, rng: random.Random
) -> None:
    client: Any = AtOnce()
    commits: Any = Now(rng, often)
    begun = min(begun, total - 1)
    tree = MergeTree(client, pair)
    for index in range(begun):
        tree.add(client.submit(str, f"{index} ", pure=False))

    def send(sent: list[range]) -> tuple[list[Any], list[Any]]:
        states = [merge_tree([f"{index} " for index in span], pair) for span in sent]
        paces = [rng.choice([0.0, 0.001, 0.005]) for _ in sent]
        readings = [
            Reading(ReadCount(chunks=len(span)), 1, "a worker", pace * len(span))
            for span, pace in zip(sent, paces, strict=True)
        ]
        return [Ended(state) for state in states], [Ended(reading) for reading in readings]

    under_way = Reduction(
        client,
        tree,
        total,
        commits,
        PassRecord("profile", chunks=begun),
        threads=lambda: threads,
        send=send,
        count=lambda _: None,
        seconds=lambda: 0.0,
    )
    under_way._arrivals = Drawn(rng)  # type: ignore[assignment]  # it stands in
    assert under_way.run().result() == merge_tree([f"{index} " for index in range(total)], pair)
    assert commits.positions == sorted(set(commits.positions))
