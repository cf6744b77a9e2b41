"""Losses, gradients and curvature of many problems, summed over rows in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.training.sweeps import learns, packed, under, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.engine.folds import Fold
    from headrace.training.generalised_losses import Loss
    from headrace.training.generalised_steps import Descent
    from headrace.training.sweeps import Rows

    Numbers = NDArray[np.float64]

FULL = 1 << 24
"""Numbers of all second derivatives together; beyond, one problem's serve all, and beyond that a diagonal does."""
_ENTRIES = 1 << 19
"""Raw predictions, or dense features, that are held at a time."""


@dataclass(frozen=True)
class Problem:
    """One setting of a model on the training rows of one fold."""

    candidate: str
    fold: Fold
    rows: int
    """Which of the ways to prepare rows."""
    losses: tuple[Loss, ...]
    """Minimised one after the other."""
    penalty: float
    """Of half the squared coefficients, beside the mean loss or, when `summed`, beside the sum of the losses."""
    summed: bool = False
    intercept: bool = True
    most: int = 100
    """Passes at most."""


Answer = tuple[float, float, "Numbers", "Numbers | None"]
"""Weight, summed loss, summed gradient and, where it was asked for, curvature of a problem."""
SUMMED = ("weight", "value", "gradient", "curvature")


@dataclass(frozen=True)
class Sums:
    """Sums over rows at the trial point of each problem.

    Attributes
    ----------
    weight, value : ndarray, shape (problems,)
        Weights of the training rows, and their losses.
    gradient : ndarray, shape (problems, (features + 1) * outputs)
        Features first, the intercept last; outputs are neighbours.
    curvature : ndarray, shape (references, size, size) or (references, size)
        Second derivatives of the losses, or their diagonal.
    """

    weight: Numbers
    value: Numbers
    gradient: Numbers
    curvature: Numbers

    def merge(self, other: Self) -> Self:
        """Return the sums of both."""
        return type(self)(
            *(
                getattr(self, name) + getattr(other, name)
                for name in ("weight", "value", "gradient", "curvature")
            )
        )


@dataclass(frozen=True)
class Evaluation:
    """What is learnt in one step from rows that are prepared in one way.

    Attributes
    ----------
    points : ndarray, shape (problems, features + 1, outputs)
    losses, folds : tuple
        Of each problem.
    references : tuple of int
        Problems whose second derivatives are wanted.
    diagonal : bool
        Only their diagonal.
    """

    points: Numbers
    losses: tuple[Loss, ...]
    folds: tuple[Fold, ...]
    references: tuple[int, ...]
    diagonal: bool = False

    def __call__(self, rows: Rows) -> Sums:
        """Add up prepared rows."""
        problems, size, outputs = self.points.shape
        shape = (size * outputs,) if self.diagonal else (size * outputs, size * outputs)
        whole = Sums(
            np.zeros(problems),
            np.zeros(problems),
            np.zeros((problems, size * outputs)),
            np.zeros((len(self.references), *shape)),
        )
        step = max(256, _ENTRIES // max(problems * outputs, size if isinstance(rows.X, np.ndarray) else 1))
        for start in range(0, rows.X.shape[0], step):
            part = slice(start, start + step)
            X = _with_ones(rows.X[part])
            weight = np.ones(X.shape[0]) if rows.weight is None else rows.weight[part]
            used = [weight * learns(fold, rows.cells[:, part]) for fold in self.folds]
            self._add(whole, X, rows.y[part], np.column_stack(used))
        return whole

    def _add(self, whole: Sums, X: Any, y: NDArray[Any], weight: Numbers) -> None:
        problems, size, outputs = self.points.shape
        raw = X @ self.points.transpose(1, 0, 2).reshape(size, -1)
        raw = np.asarray(raw).reshape(len(y), problems, outputs)
        whole.weight[:] += weight.sum(axis=0)
        slopes = np.empty_like(raw)
        bends = np.empty((len(y), len(self.references), outputs))
        with np.errstate(over="ignore", invalid="ignore"):
            for loss in dict.fromkeys(self.losses):
                here = [index for index, each in enumerate(self.losses) if each == loss]
                value, first, second = loss.slopes(raw[:, here], y)
                # A row without weight counts nothing, also where its loss is infinite.
                shared = weight[:, here]
                whole.value[here] += np.where(shared > 0, value * shared, 0.0).sum(axis=0)
                slopes[:, here] = np.where(shared > 0, 1.0, 0.0)[..., None] * first * shared[..., None]
                for column, reference in enumerate(self.references):
                    if reference in here:
                        bends[:, column] = second[:, here.index(reference)]
            gradient = X.T @ slopes.reshape(len(y), -1)
            gradient = np.asarray(gradient).reshape(size, problems, outputs)
            whole.gradient[:] += gradient.transpose(1, 0, 2).reshape(problems, -1)
            for column, reference in enumerate(self.references):
                _add_curvature(whole.curvature[column], X, bends[:, column], weight[:, reference])


def _add_curvature(whole: Numbers, X: Any, bends: Numbers, weight: Numbers) -> None:
    """Add X' B X; of several outputs, the blocks of diag(p) - p p'."""
    outputs = bends.shape[1]
    for k in range(outputs):
        for m in range(k, outputs):
            bend = bends[:, k] if outputs == 1 else bends[:, k] * ((k == m) - bends[:, m])
            bend = np.where(weight > 0, bend, 0.0) * weight
            if whole.ndim == 1:
                if k == m:
                    squares = X * X if isinstance(X, np.ndarray) else X.multiply(X)
                    whole[k::outputs] += np.asarray(squares.T @ bend)
                continue
            if isinstance(X, np.ndarray):
                block = (X * bend[:, None]).T @ X
            else:
                block = np.asarray((X.T @ X.multiply(bend[:, None]).tocsr()).todense())
            whole[k::outputs, m::outputs] += block
            if m > k:
                whole[m::outputs, k::outputs] += block.T


def _with_ones(X: Any) -> Any:
    ones = np.ones((X.shape[0], 1))
    if isinstance(X, np.ndarray):
        return np.concatenate([X, ones], axis=1, dtype=np.float64)
    from scipy import sparse

    return sparse.hstack([X, sparse.csr_matrix(ones)], format="csr", dtype=np.float64)


@dataclass(frozen=True)
class Asked:
    """What one step wants to know, by way to prepare rows.

    Attributes
    ----------
    evaluations : dict of int to Evaluation
    members : dict of int to list of int
        Problems of each evaluation, in its order.
    measured : frozenset of int
        Problems whose curvature is wanted.
    """

    evaluations: dict[int, Evaluation]
    members: dict[int, list[int]]
    measured: frozenset[int]

    @classmethod
    def of(
        cls,
        problems: Sequence[Problem],
        states: Sequence[Descent],
        active: Sequence[int],
        reference: Sequence[int],
        outputs: int,
        *,
        diagonal: bool,
    ) -> Self:
        """Ask for every problem that is not done."""
        measured = frozenset(reference[index] for index in active) & frozenset(active)
        members: dict[int, list[int]] = {}
        for index in active:
            members.setdefault(problems[index].rows, []).append(index)
        evaluations = {
            way: Evaluation(
                np.stack([states[index].trial.reshape(-1, outputs) for index in here]),
                tuple(problems[index].losses[states[index].stage] for index in here),
                tuple(problems[index].fold for index in here),
                tuple(place for place, index in enumerate(here) if index in measured),
                diagonal,
            )
            for way, here in members.items()
        }
        return cls(evaluations, members, measured)

    def answers(self, sums: Sequence[Sums]) -> dict[int, Answer]:
        """Return what was found, by problem."""
        found: dict[int, Answer] = {}
        for (way, here), each in zip(self.members.items(), sums, strict=True):
            wanted = self.evaluations[way].references
            for place, index in enumerate(here):
                curvature = each.curvature[wanted.index(place)] if place in wanted else None
                found[index] = (
                    float(each.weight[place]), float(each.value[place]), each.gradient[place], curvature,
                )  # fmt: skip
        return found


def references(problems: Sequence[Problem], sizes: Sequence[int]) -> tuple[list[int], bool]:
    """Say which problem's curvature each problem uses, and whether only diagonals are affordable.

    Parameters
    ----------
    problems : sequence of Problem
    sizes : sequence of int
        Parameters of each.
    """

    def first(keys: Sequence[Any]) -> list[int]:
        largest: dict[Any, int] = {}
        for index, (key, problem) in enumerate(zip(keys, problems, strict=True)):
            held = largest.setdefault(key, index)
            if len(problem.fold.train) > len(problems[held].fold.train):
                largest[key] = index
        return [largest[key] for key in keys]

    own = first([(problem.candidate, problem.rows) for problem in problems])
    if sum(sizes[index] ** 2 for index in set(own)) <= FULL:
        return own, False
    shared = first([problem.rows for problem in problems])
    if sum(sizes[index] ** 2 for index in set(shared)) <= FULL:
        return shared, False
    return own, True


def dump_sums(sums: tuple[Sums, ...]) -> list[bytes]:
    """Write sums as a numpy archive of plain arrays."""
    return [
        packed({f"{part}.{name}": getattr(each, name) for part, each in enumerate(sums) for name in SUMMED})
    ]


def load_sums(pieces: list[bytes]) -> tuple[Sums, ...]:
    """Rebuild from `dump_sums`; nothing is unpickled."""
    (piece,) = pieces
    arrays = unpacked(piece)
    return tuple(Sums(**under(arrays, part)) for part in range(len(arrays) // len(SUMMED)))
