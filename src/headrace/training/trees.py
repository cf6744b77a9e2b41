"""Boosted trees of XGBoost, fed chunk by chunk: only binned rows stay, in memory or on the worker's disk."""

from __future__ import annotations

import math
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.data.storage import join, remove_tree
from headrace.engine.commits import PassRecord
from headrace.engine.events import ChunkDone, Note, PassEnded, PassStarted
from headrace.errors import RunError
from headrace.training.board import Fitted
from headrace.training.candidates import build
from headrace.training.deadline import never
from headrace.training.growing import Growth
from headrace.training.sweeps import packed, unpacked
from headrace.training.tree_lanes import grow_on_lanes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.preparation.layout import Layout
    from headrace.training.blocks import BlockMaker, Target
    from headrace.training.board import Trained
    from headrace.training.candidates import Candidate

BINNED_BYTES = 2
"""Bytes of a binned number: by row, and once more by column."""
BINNED_SHARE = 8
"""Binned rows of a task that are more than this part of a worker's memory stay on disk."""
ROW_BYTES = 60
"""What XGBoost holds of a row while trees grow, whatever its width: its number in the order of the leaves and twice in that to come, its
leaf, label, weight, gradient, hessian and margin, and what the allocator loses. The last three once a class where there are more than
two, which is known from the profile only."""


def fit_trees(
    reader: Reader,
    source: Source,
    maker: BlockMaker,
    candidates: Sequence[tuple[Candidate, int]],
    *,
    rows: int,
    name: str = "",
    rounds: Mapping[str, int] | None = None,
    lanes: int = 1,
    late: Callable[[], bool] = never,
) -> dict[str, tuple[Fitted, ...]]:
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
    rounds : mapping of str to int, optional
        Trees by name, in place of those of the candidates, where no row judges when to stop.
    lanes : int
        Tasks that grow the same trees at once, each from its share of the chunks.
    late : callable
        Tells before the candidates of other binned rows whether there is no time for them.

    Returns
    -------
    dict of str to tuple of Fitted
        By name, one a fold; none where there was no time.

    Raises
    ------
    RunError
        When the labels are not 0, 1, ..., which is what `XGBClassifier` takes.
    """
    target, folds = maker.target, max(1, len(maker.folds))
    inside = {
        number: [place for place, each in enumerate(maker.folds) if each.within == number]
        for number in {each.within for each in maker.folds if each.within is not None}
    }
    if target.classes and list(target.classes) != list(range(len(target.classes))):
        raise RunError(
            f"labels are {', '.join(map(str, target.classes[:5]))}, and XGBClassifier takes 0, 1, ...",
            where="problem.target",
            mend="number the classes from 0 in the data or by features.function",
        )
    estimators = {each.name: build(each, seed=maker.splitter.seed) for each, _ in candidates}
    found: dict[tuple[str, int], Fitted] = {}
    groups: dict[tuple[int, int, bool], list[Candidate]] = {}
    for candidate, variant in candidates:
        said = estimators[candidate.name]
        groups.setdefault((variant, said.max_bin or 256, bool(said.enable_categorical)), []).append(candidate)
    for (variant, max_bin, coded), members in groups.items():
        if found and late():
            break
        for fold in (*(each for each in range(folds) if each not in inside), *inside):
            view = variant * folds + fold
            layout = maker.recipes[variant if maker.shared else view].compiled.layout
            external = rows * layout.width * BINNED_BYTES * BINNED_SHARE > source.dataset.memory * lanes
            trees = tuple(rounds[each.name] for each in members) if rounds else None
            if fold in inside:  # whose rows judge what is chosen within it, and so do not say when to stop
                trees = tuple(
                    grown_rounds([found[each.name, place] for place in inside[fold]]) for each in members
                )
            growth = _growth([estimators[each.name] for each in members], view, target, external, trees)
            growth = replace(
                growth,
                types=_types(layout) if coded else None,
                params=tuple(_by_feature(each, layout) for each in growth.params),
            )
            label = f"{name}trees {view}-{max_bin}{' codes' if coded else ''}"
            grown = _boosters(reader, source, maker, growth, label, lanes)
            for candidate, (raw, seconds) in zip(members, grown, strict=True):
                fitted: Any = build(candidate, seed=maker.splitter.seed)
                fitted.load_model(bytearray(raw))
                if growth.types is not None:
                    fitted.set_params(feature_types=list(growth.types))
                found[candidate.name, fold] = Fitted(fitted, seconds)
    return {
        each.name: tuple(found[each.name, fold] for fold in range(folds) if (each.name, fold) in found)
        for each, _ in candidates
    }


def growing_bytes(rows: int, *, workers: int, lanes: int, memory: int) -> int:
    """Bytes that a worker holds at most, beside its libraries, while trees grow.

    Parameters
    ----------
    rows : int
        That may be learnt from.
    workers : int
        Processes over which the lanes are spread.
    lanes : int
        Tasks among which the rows are shared out.
    memory : int
        Bytes of a worker, of which binned rows take a part at most.
    """
    share = math.ceil(lanes / workers) / lanes
    return math.ceil(rows * share * ROW_BYTES) + memory // BINNED_SHARE


def grown_rounds(folds: Sequence[Fitted | Trained]) -> int:
    """Return the rounded mean of the trees that a candidate has in several folds."""
    grown: list[Any] = [fold.estimator for fold in folds]
    trees: int = sum(one.get_booster().num_boosted_rounds() for one in grown)
    return round(trees / len(grown))


def _types(layout: Layout) -> tuple[str, ...] | None:
    codes = set(layout.codes)
    return tuple("c" if place in codes else "q" for place in range(layout.width)) if codes else None


def _by_feature(params: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """Turn constraints of columns into those of features: only the one that is the column itself can rise with it."""
    said = params.get("monotone_constraints")
    if not isinstance(said, dict):
        return params
    names = layout.names
    lost = [name for name in said if name not in names]
    if lost:
        raise RunError(
            f"monotone_constraints holds {lost[0]!r}, which is no feature of one number",
            where="models",
            mend="name columns of numbers",
        )
    return {**params, "monotone_constraints": tuple(said.get(name, 0) for name in names)}


def _growth(
    estimators: Sequence[Any], view: int, target: Target, external: bool, rounds: tuple[int, ...] | None
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
        rounds or tuple(each.get_num_boosting_rounds() for each in estimators),
        tuple(None if rounds else each.early_stopping_rounds for each in estimators),
        view,
        target,
        external,
    )


def _boosters(
    reader: Reader, source: Source, maker: BlockMaker, growth: Growth, label: str, lanes: int
) -> list[tuple[bytes, float]]:
    """Grow what the ledger does not hold, and count what was read; also tell the seconds that each took."""
    ledger = reader.ledger
    known = None if ledger is None else ledger.state.facts.get(label)
    if known is not None and ledger is not None:
        for number, body in enumerate(known.body["passes"], 1):
            reader.records.append(PassRecord(**{**body, "name": f"{label} read {number}"}))
        held = unpacked(ledger.read(known.payloads["boosters"]))
        return [
            (held[key].tobytes(), spent)
            for key, spent in zip(sorted(held), known.body["seconds"], strict=True)
        ]
    where = "on disk" if growth.external else "in memory"
    room = source.dataset.memory // BINNED_SHARE >> 20
    reader.emit(
        Note(f"{label}: binned rows stay {where}, by {BINNED_BYTES} bytes a number against {room} MiB")
    )
    started = time.perf_counter()
    reader.emit(PassStarted(label, len(source.chunks), source.rows, source.bytes))
    prepare = maker.for_epoch(1, frozenset([growth.view]))
    works = [source.work(index, prepare) for index in range(len(source.chunks))]
    saves = None if ledger is None else join(ledger.url, "boosters", re.sub(r"\W+", "-", label))
    grown = grow_on_lanes(reader, works, replace(growth, saves=saves), lanes)
    seconds = time.perf_counter() - started
    # Binned rows are shared, so each bears its part of the time that they took.
    shared = (seconds - sum(grown.seconds)) / len(grown.boosters)
    spent = [own + shared for own in grown.seconds]
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
        ledger.append(label, {"passes": bodies, "seconds": spent}, {"boosters": raw})
    if saves is not None:
        remove_tree(saves)
    return list(zip(grown.boosters, spent, strict=True))
