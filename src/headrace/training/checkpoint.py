"""Learners and blocks as bytes, without loss and without pickle: what a run needs to go on where it was."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import RunError
from headrace.training.candidates import class_path
from headrace.training.prepared import Block, concatenate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sklearn.base import BaseEstimator

    from headrace.training.candidates import Candidate

# Beyond what skops itself trusts; state of estimators between two calls of partial_fit.
TRUSTED = (
    "numpy.dtype",
    "xgboost.core.Booster",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)


@dataclass(frozen=True)
class Learner:
    """One candidate on its way through the stream."""

    candidate: Candidate
    estimator: BaseEstimator
    seconds: float = 0.0
    """Time spent in ``partial_fit``."""
    failure: str = ""
    """Why it was given up, if it was."""
    fold: int = 0
    """From which fold's rows it learns."""
    view: int = 0
    """Which prepared rows it sees, see `Prepared`."""
    rows: int = 0
    """Rows that it has learnt from, each as often as it was seen."""

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from all other learners."""
        return self.candidate.name, self.fold


def dump_estimator(estimator: BaseEstimator) -> bytes:
    """Write an estimator with all its state, private state and random generator included.

    Raises
    ------
    RunError
        When it holds what skops cannot write, or what `load_estimator` would refuse.
    """
    from headrace import skopsio

    name = _path(estimator)
    try:
        written: bytes = skopsio.dumps(estimator)
        refused = set(skopsio.get_untrusted_types(data=written)) - {*TRUSTED, name}
    except Exception as error:  # whatever an estimator raises while it is taken apart
        raise RunError(f"cannot be written as skops: {error}", where=name) from error
    if refused:
        raise RunError(f"holds types that are not trusted: {', '.join(sorted(refused))}", where=name)
    return written


def load_estimator(data: bytes, name: str) -> Any:
    """Rebuild from `dump_estimator`; trusted are our own list and the class that the workflow names.

    Raises
    ------
    RunError
        When it names another type, or is damaged.
    """
    from headrace import skopsio

    try:
        return skopsio.loads(data, trusted=[*TRUSTED, name])
    except Exception as error:  # a hostile file can make the parser fail in any way
        raise RunError(f"cannot be loaded: {type(error).__name__}: {error}", where=name) from error


def _path(estimator: object) -> str:
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}"


def dump_blocks(blocks: Sequence[Block | None]) -> bytes:
    """Write the blocks of all views as a numpy archive of plain arrays."""
    arrays: dict[str, Any] = {"views": np.array(len(blocks))}
    for view, block in enumerate(blocks):
        if block is None:
            continue
        if isinstance(block.X, np.ndarray):
            held = {"X": block.X}
        else:
            held = {
                "data": block.X.data,
                "indices": block.X.indices,
                "indptr": block.X.indptr,
                "shape": np.asarray(block.X.shape),
            }
        named = {**held, "y": block.y, "weight": block.weight}
        arrays |= {f"{view}.{name}": array for name, array in named.items() if array is not None}
    target = io.BytesIO()
    np.savez(target, allow_pickle=False, **arrays)
    return target.getvalue()


def load_blocks(data: bytes) -> tuple[Block | None, ...]:
    """Rebuild from `dump_blocks`; nothing is unpickled."""
    with np.load(io.BytesIO(data), allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    return tuple(_load_block(arrays, view) for view in range(int(arrays["views"])))


def _load_block(arrays: dict[str, Any], view: int) -> Block | None:
    from scipy import sparse

    X = arrays.get(f"{view}.X")
    if X is None:
        if f"{view}.data" not in arrays:
            return None
        parts = tuple(arrays[f"{view}.{name}"] for name in ("data", "indices", "indptr"))
        X = sparse.csr_matrix(parts, shape=tuple(arrays[f"{view}.shape"].tolist()))
    return Block(X, arrays.get(f"{view}.y"), arrays.get(f"{view}.weight"))


def dump_learners(learners: Sequence[Learner]) -> list[bytes]:
    """Write learners, one piece each: a line of JSON, then the estimator."""
    return [
        json.dumps({
            "name": each.candidate.name, "seconds": each.seconds, "failure": each.failure, "fold": each.fold,
            "view": each.view, "rows": each.rows,
        }).encode() + b"\n" + dump_estimator(each.estimator)
        for each in learners
    ]  # fmt: skip


def load_learners(pieces: Sequence[bytes], candidates: Mapping[str, Candidate]) -> tuple[Learner, ...]:
    """Rebuild from `dump_learners`; estimators are of the classes that the workflow names."""
    learners = []
    for piece in pieces:
        head, _, estimator = piece.partition(b"\n")
        said = json.loads(head)
        candidate = candidates[said["name"]]
        fitted = load_estimator(estimator, class_path(candidate))
        learners.append(
            Learner(
                candidate,
                fitted,
                said["seconds"],
                said["failure"],
                said["fold"],
                said["view"],
                said["rows"],
            )
        )
    return tuple(learners)


def dump_held(*held: tuple[Block | None, ...]) -> bytes:
    """Write the validation rows of several chunks, put together view by view."""
    joined = []
    for view in range(len(held[0])):
        blocks = [one for blocks in held if (one := blocks[view]) is not None]
        joined.append(concatenate(blocks) if blocks else None)
    return dump_blocks(joined)
