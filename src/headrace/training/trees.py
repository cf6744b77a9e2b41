"""Boosted trees of XGBoost, fed chunk by chunk: only binned rows stay, in memory or on the worker's disk."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.engine.commits import PassRecord
from headrace.engine.events import ChunkDone, Note, PassEnded, PassStarted
from headrace.errors import RunError
from headrace.training.candidates import build
from headrace.training.sweeps import codes_of, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from headrace.engine.passes import Reader
    from headrace.engine.source import Reading, Source
    from headrace.training.blocks import BlockMaker, Target
    from headrace.training.candidates import Candidate
    from headrace.training.prepared import Block, Prepared

BINNED_MEMORY = 512 << 20
"""Bytes of binned rows, one for each number, beyond which they stay on disk."""
_ROWS = 1 << 15
"""Rows that are given to XGBoost at a time, as a dense matrix: to XGBoost what a sparse row does not store is missing."""


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


@dataclass
class Grown:
    """What a task returns."""

    boosters: list[bytes] = field(default_factory=list)
    """In XGBoost's own format, cut after the best round."""
    sweeps: list[list[Reading]] = field(default_factory=list)
    """What was read, by sweep over the chunks."""
    seconds: list[float] = field(default_factory=list)


def grow(works: Sequence[Callable[[], tuple[Prepared, Reading]]], growth: Growth) -> Grown:
    """Bin the rows of all chunks, each freed before the next is read, and train every candidate on them.

    Parameters
    ----------
    works : sequence of callables
        Each reads and prepares a chunk, from `headrace.engine.source.Source.work`.
    growth : Growth
        What is grown.
    """
    import xgboost
    from distributed import get_worker

    threads, found = get_worker().state.nthreads, Grown()
    max_bin = growth.params[0].get("max_bin") or 256
    with tempfile.TemporaryDirectory(dir=get_worker().local_directory) as place:

        def binned(*, held: bool, ref: Any = None) -> Any:
            chunks = _Chunks(
                works, growth, found, held=held, cache=f"{place}/{held}" if growth.external else None
            )
            kind = xgboost.ExtMemQuantileDMatrix if growth.external else xgboost.QuantileDMatrix
            return kind(chunks.iterator(), max_bin=max_bin, ref=ref, nthread=threads)

        train = binned(held=False)
        held = binned(held=True, ref=train) if any(growth.patience) else None
        for params, rounds, patience in zip(growth.params, growth.rounds, growth.patience, strict=True):
            started = time.perf_counter()
            watched = {"evals": [(held, "validation")], "early_stopping_rounds": patience} if patience else {}
            booster = xgboost.train(
                {**params, "nthread": threads}, train, rounds, verbose_eval=False, **watched
            )
            if patience:
                booster = booster[: booster.best_iteration + 1]
            found.boosters.append(bytes(booster.save_raw("ubj")))
            found.seconds.append(time.perf_counter() - started)
        del train, held, watched, booster  # whose pages must go before their folder does
    return found


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
                input_data(data=X, label=y, weight=weight)
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
                yield X if isinstance(X, np.ndarray) else X.toarray(), y[rows], weight


def fit_trees(
    reader: Reader,
    source: Source,
    maker: BlockMaker,
    candidates: Sequence[tuple[Candidate, int]],
    *,
    rows: int,
    name: str = "",
    rounds: int | None = None,
) -> dict[str, tuple[Any, ...]]:
    """Fit candidates in every fold, one view after the other on one worker; candidates of a view share its binned rows.

    Parameters
    ----------
    reader : Reader
        Its client does the work; reads are counted as passes of it.
    source : Source
        The chunks.
    maker : BlockMaker
        Prepares the rows.
    candidates : sequence of (Candidate, int)
        With the variant that each sees.
    rows : int
        That may be learnt from.
    name : str
        Begins the names of its passes and of its facts in the ledger.
    rounds : int, optional
        Trees, in place of those of the candidates, where no row judges when to stop.

    Returns
    -------
    dict of str to tuple of estimator
        By name, one a fold.

    Raises
    ------
    RunError
        When the labels are not 0, 1, ..., which is what `XGBClassifier` takes.
    """
    target, folds = maker.target, max(1, len(maker.folds))
    if target.classes and list(target.classes) != list(range(len(target.classes))):
        raise RunError(
            f"labels are {', '.join(map(str, target.classes[:5]))}, and XGBClassifier takes 0, 1, ...",
            where="problem.target",
            mend="number the classes from 0 in the data or by features.function",
        )
    estimators = {each.name: build(each, seed=maker.splitter.seed) for each, _ in candidates}
    found: dict[tuple[str, int], Any] = {}
    groups: dict[tuple[int, int], list[Candidate]] = {}
    for candidate, variant in candidates:
        groups.setdefault((variant, estimators[candidate.name].max_bin or 256), []).append(candidate)
    for (variant, max_bin), members in groups.items():
        for fold in range(folds):
            view = variant * folds + fold
            width = maker.recipes[variant if maker.shared else view].compiled.width
            external = rows * width > BINNED_MEMORY
            growth = _growth([estimators[each.name] for each in members], view, target, external, rounds)
            label = f"{name}trees {view}-{max_bin}"
            for candidate, raw in zip(members, _boosters(reader, source, maker, growth, label), strict=True):
                fitted: Any = build(candidate, seed=maker.splitter.seed)
                fitted.load_model(bytearray(raw))
                found[candidate.name, fold] = fitted
    return {each.name: tuple(found[each.name, fold] for fold in range(folds)) for each, _ in candidates}


def _growth(
    estimators: Sequence[Any], view: int, target: Target, external: bool, rounds: int | None
) -> Growth:
    params = []
    for estimator in estimators:
        said = {key: value for key, value in estimator.get_xgb_params().items() if value is not None}
        said.pop("missing", None)
        if len(target.classes) > 2:
            said |= {"objective": "multi:softprob", "num_class": len(target.classes)}
        if estimator.eval_metric is not None:
            said["eval_metric"] = estimator.eval_metric
        params.append(said)
    return Growth(
        tuple(params),
        tuple(rounds or each.get_num_boosting_rounds() for each in estimators),
        tuple(None if rounds else each.early_stopping_rounds for each in estimators),
        view,
        target,
        external,
    )


def _boosters(reader: Reader, source: Source, maker: BlockMaker, growth: Growth, label: str) -> list[bytes]:
    """Grow what the ledger does not hold, and count what was read."""
    ledger = reader.ledger
    known = None if ledger is None else ledger.state.facts.get(label)
    if known is not None and ledger is not None:
        for number, body in enumerate(known.body["passes"], 1):
            reader.records.append(PassRecord(**{**body, "name": f"{label} read {number}"}))
        held = unpacked(ledger.read(known.payloads["boosters"]))
        return [held[key].tobytes() for key in sorted(held)]
    where = "on disk" if growth.external else "in memory"
    reader.emit(
        Note(f"{label}: binned rows stay {where}, by one byte a number against {BINNED_MEMORY >> 20} MiB")
    )
    started = time.perf_counter()
    reader.emit(PassStarted(label, len(source.chunks), source.rows, source.bytes))
    prepare = maker.for_epoch(1, frozenset([growth.view]))
    works = [source.work(index, prepare) for index in range(len(source.chunks))]
    grown: Grown = reader.client.submit(grow, works, growth, pure=False).result()
    seconds = time.perf_counter() - started
    records = []
    for number, readings in enumerate(grown.sweeps, 1):
        record = PassRecord(f"{label} read {number}", seconds=seconds / len(grown.sweeps))
        for reading in readings:
            record.add(reading)
            peak = reading.memory_peak
            reader.emit(ChunkDone(record.name, reading.count.rows, reading.count.bytes, reading.worker, peak))
        records.append(record)
    reader.records.extend(records)
    reader.emit(PassEnded(label, source.rows, sum(each.bytes for each in records), seconds))
    if ledger is not None:
        raw = packed({f"{i:05}": np.frombuffer(each, np.uint8) for i, each in enumerate(grown.boosters)})
        bodies = [vars(record) for record in records]
        ledger.append(label, {"passes": bodies}, {"boosters": raw})
    return grown.boosters
