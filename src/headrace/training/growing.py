"""What grows trees, within a task: prepared chunks to binned rows, and these to boosters, which are saved on their way."""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.data.storage import exists, read_bytes, write_bytes
from headrace.engine.memory import give_back
from headrace.training.sweeps import codes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.engine.source import Reading
    from headrace.training.blocks import Target
    from headrace.training.prepared import Block, Prepared

SAVED_EVERY = 10
"""Rounds after which a booster is saved: so many are grown again when a worker is lost."""

RISING = ("auc", "aucpr", "pre", "map", "ndcg")
"""Metrics of XGBoost that are better when they are higher."""

_ROWS = 1 << 15
"""Rows that are given to XGBoost at a time, as a dense matrix: to XGBoost what a sparse row does not store is missing."""
_SHARES = ("subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode")
_SCORES = "headrace_scores"
"""Attribute of a saved booster: its validation score after each round."""


@dataclass(frozen=True)
class Growth:
    """What is grown from the binned rows of one view."""

    params: tuple[dict[str, Any], ...]
    """Of XGBoost, one for each candidate; all with the same ``max_bin``."""
    rounds: tuple[int, ...]
    patience: tuple[int | None, ...]
    """Rounds without a better validation score after which a candidate stops."""
    view: int
    target: Target
    external: bool
    """Whether binned rows stay on disk."""
    types: tuple[str, ...] | None = None
    """Of the features, in XGBoost's words: ``c`` for codes of categories, ``q`` for numbers; None when all are numbers."""
    saves: str | None = None
    """URL of a folder where boosters are saved on their way."""


@dataclass(frozen=True)
class Lane:
    """One of several tasks that grow the same trees, each from its own chunks; XGBoost adds up their histograms."""

    number: int
    tracker: dict[str, Any]
    """Where the tasks meet, as `xgboost.RabitTracker.worker_args` says."""

    def joined(self) -> AbstractContextManager[Any]:
        """Return within what this lane is one of the others."""
        from xgboost import collective

        joined: AbstractContextManager[Any] = collective.CommunicatorContext(
            **self.tracker, dmlc_task_id=f"{self.number:05}"
        )
        return joined


@dataclass
class Grown:
    """What a task returns."""

    boosters: list[bytes] = field(default_factory=list)
    """In XGBoost's own format, cut after the best round."""
    sweeps: list[list[Reading]] = field(default_factory=list)
    """What was read, by sweep over the chunks."""
    seconds: list[float] = field(default_factory=list)


def grow(
    works: Sequence[Callable[[], tuple[Prepared, Reading]]], growth: Growth, lane: Lane | None = None
) -> Grown:
    """Bin the rows of all chunks, each freed before the next is read, and train every candidate on them.

    Parameters
    ----------
    works : sequence of callables
        Each reads and prepares a chunk, from `headrace.engine.source.Source.work`.
    growth : Growth
        What is grown.
    lane : Lane, optional
        When other tasks have the other chunks.
    """
    import xgboost
    from distributed import get_worker

    threads = get_worker().state.nthreads if lane is None else 1
    found = Grown()
    max_bin = growth.params[0].get("max_bin") or 256
    with (
        tempfile.TemporaryDirectory(dir=get_worker().local_directory) as place,
        nullcontext() if lane is None else lane.joined(),
    ):

        def binned(*, held: bool, ref: Any = None) -> Any:
            chunks = _Chunks(
                works, growth, found, held=held, cache=f"{place}/{held}" if growth.external else None
            )
            kind = xgboost.ExtMemQuantileDMatrix if growth.external else xgboost.QuantileDMatrix
            give_back()  # what chunks took before; and below, what those took of which only the binned rows stay
            made = kind(chunks.iterator(), max_bin=max_bin, ref=ref, nthread=threads, enable_categorical=True)
            give_back()
            return made

        train = binned(held=False)
        held = binned(held=True, ref=train) if any(growth.patience) else None
        for number, params in enumerate(growth.params):
            started = time.perf_counter()
            way = _Way(
                growth.rounds[number],
                growth.patience[number],
                f"{growth.saves}/{number:05}.ubj" if growth.saves and not _draws(params) else None,
                leads=lane is None or lane.number == 0,
            )
            found.boosters.append(way.train({**params, "nthread": threads}, train, held))
            found.seconds.append(time.perf_counter() - started)
        del train, held  # whose pages must go before their folder does
    give_back()
    return found


@dataclass
class _Way:
    """The rounds of one booster, of which some may lie behind it."""

    rounds: int
    patience: int | None
    saved: str | None
    leads: bool
    """Whether this task saves for all lanes."""
    scores: list[float] = field(default_factory=list)
    """On validation rows, by round; the higher the better."""

    def train(self, params: dict[str, Any], train: Any, held: Any) -> bytes:
        """Grow what is left of it, and cut it after the best round."""
        booster = self._begin(params, [train] if held is None else [train, held])
        for number in range(booster.num_boosted_rounds(), self.rounds):
            if self._tired():
                break
            booster.update(train, number)
            if self.patience:
                self.scores.append(_last_score(booster.eval(held)))
            if (number + 1) % SAVED_EVERY:
                continue
            give_back()
            if self.saved and self.leads:
                booster.set_attr(**{_SCORES: json.dumps(self.scores)})
                write_bytes(self.saved, bytes(booster.save_raw("ubj")))
        booster.set_attr(**{_SCORES: None})
        if self.patience:
            booster = booster[: int(np.argmax(self.scores)) + 1]
        return bytes(booster.save_raw("ubj"))

    def _begin(self, params: dict[str, Any], matrices: Sequence[Any]) -> Any:
        import xgboost
        from xgboost import collective

        raw = read_bytes(self.saved) if self.leads and self.saved and exists(self.saved) else b""
        if collective.is_distributed():
            raw = collective.broadcast(raw, 0)
        booster = xgboost.Booster(params, matrices, model_file=bytearray(raw) or None)
        self.scores = json.loads(booster.attr(_SCORES) or "[]")
        return booster

    def _tired(self) -> bool:
        if not self.patience or not self.scores:
            return False
        return len(self.scores) - 1 - int(np.argmax(self.scores)) >= self.patience


def _draws(params: dict[str, Any]) -> bool:
    """Tell whether rounds draw rows or columns: XGBoost does not save where its random numbers are, and would draw others."""
    return any(params.get(name, 1) < 1 for name in _SHARES)


def _last_score(said: str) -> float:
    """Read the last metric of what XGBoost says of a round, such as ``[3] eval-logloss:0.61 eval-auc:0.72``; the higher the better."""
    metric, value = said.rsplit(maxsplit=1)[-1].removeprefix("eval-").rsplit(":", 1)
    return float(value) if metric.startswith(RISING) else -float(value)


@dataclass
class _Chunks:
    """Gives XGBoost the rows of one chunk after the other, as often as it asks."""

    works: Sequence[Callable[[], tuple[Prepared, Reading]]]
    growth: Growth
    found: Grown
    held: bool
    cache: str | None

    def iterator(self) -> Any:
        """Make what XGBoost pulls from; a class of XGBoost's, hence made here."""
        import xgboost

        chunks = self

        class Pulled(xgboost.DataIter):
            def __init__(self) -> None:
                self.parts = chunks.parts()
                super().__init__(cache_prefix=chunks.cache, release_data=True, on_host=chunks.cache is None)

            def next(self, input_data: Any) -> bool:
                part = next(self.parts, None)
                if part is None:
                    return False
                X, y, weight = part
                input_data(data=X, label=y, weight=weight, feature_types=chunks.growth.types)
                return True

            def reset(self) -> None:
                self.parts = chunks.parts()

        return Pulled()

    def parts(self) -> Iterator[tuple[Any, Any, Any]]:
        """Sweep over the chunks."""
        readings: list[Reading] = []
        for work in self.works:
            prepared, reading = work()
            if not readings:
                self.found.sweeps.append(readings)
            readings.append(reading)
            block: Block | None = (
                prepared.validation[self.growth.view] if self.held else prepared.train(self.growth.view)
            )
            assert block is not None, "the view was asked for"
            assert block.y is not None, "trees that are grown have a target"
            y = codes_of(block.y, self.growth.target)
            for start in range(0, block.rows, _ROWS):
                rows = slice(start, start + _ROWS)
                X = block.X[rows]
                weight = None if block.weight is None else block.weight[rows]
                dense = X if isinstance(X, np.ndarray) else X.toarray()
                yield _without_unseen(dense, self.growth.types), y[rows], weight


def _without_unseen(X: NDArray[Any], types: Sequence[str] | None) -> NDArray[Any]:
    """Take categories that have no code, which XGBoost bins no more than it does negative ones, for missing."""
    if types is None:
        return X
    return np.where((np.asarray(types) == "c") & (X < 0), np.float32(np.nan), X)
