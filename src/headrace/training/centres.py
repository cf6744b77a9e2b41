"""What k-means learns of a chunk: rows drawn by their distance from centres, and the weights and sums of each centre's rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.rowsample import RowSample
from headrace.engine.order import uniform
from headrace.training.scoring import PART_ROWS
from headrace.training.sweeps import learns, packed, under, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.engine.folds import Fold
    from headrace.training.sweeps import Rows

    Numbers = NDArray[np.float64]

_ENTRIES = 1 << 21
"""Dense features that are held at a time."""


def nearest(X: Any, centres: Numbers) -> tuple[NDArray[np.int64], Numbers]:
    """Find the nearest centre of each row.

    Parameters
    ----------
    X : ndarray or CSR matrix, shape (rows, features)
        In float64.
    centres : ndarray, shape (centres, features)

    Returns
    -------
    places : ndarray of int, shape (rows,)
    distances : ndarray, shape (rows,)
        Squared.
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    if isinstance(X, np.ndarray):
        # Far from zero, what distances are the difference of would be large.
        middle = centres.mean(axis=0)
        X, centres = X - middle, centres - middle
    places, distances = pairwise_distances_argmin_min(X, centres, metric="sqeuclidean")
    return places, distances


@dataclass(frozen=True)
class Draw:
    """Draws rows with a chance that is proportional to their weight times their squared distance from the nearest centre.

    Each row runs a race: an exponential variable from the hash of its key, over that product; the first ones are drawn
    (Efraimidis & Spirakis 2006). No sum over all rows has to be known before, and the rows drawn depend neither on chunks nor on
    who reads them. It is the oversampling of k-means|| (Bahmani et al. 2012) with the number of rows fixed.

    Attributes
    ----------
    centres : ndarray, shape (centres, features)
        Without any, all rows are equally far.
    fold : Fold
        From whose training rows is drawn.
    size : int
        Rows that are drawn.
    seed, number : int
        Of the model, and which draw it is.
    """

    centres: Numbers
    fold: Fold
    size: int
    seed: int
    number: int

    def __call__(self, rows: Rows) -> RowSample:
        """Draw from prepared rows."""
        assert rows.keys is not None, "rows that are drawn from are not from the cache"
        chances = uniform(rows.keys, seed=self.seed, salt=f"k-means draw {self.number}")
        sample = RowSample(rows.X.shape[1], self.size)
        for place, X, weight in _parts(rows, self.fold):
            mass = weight * nearest(X, self.centres)[1] if len(self.centres) else weight
            running = np.flatnonzero(mass > 0)
            # Floats that are not negative are ordered as their bits are.
            arrivals = (-np.log1p(-chances[place][running]) / mass[running]).view(np.uint64)
            picked = sample.picks(arrivals)
            taken = X[running[picked]]
            sample.update(arrivals[picked], taken if isinstance(taken, np.ndarray) else taken.toarray())
        return sample


@dataclass(frozen=True)
class CentreSums:
    """Sums over the rows that are nearest to each centre.

    Attributes
    ----------
    weight : ndarray, shape (centres,)
    total : ndarray, shape (centres, features)
        Of rows times their weights.
    inertia : float
        Of squared distances times weights.
    """

    weight: Numbers
    total: Numbers
    inertia: float

    def merge(self, other: Self) -> Self:
        """Return the sums of both."""
        return type(self)(self.weight + other.weight, self.total + other.total, self.inertia + other.inertia)


@dataclass(frozen=True)
class Assign:
    """Gives each row to its nearest centre: the pass of a step of Lloyd.

    Attributes
    ----------
    centres : ndarray, shape (centres, features)
    fold : Fold
        Whose training rows count.
    """

    centres: Numbers
    fold: Fold

    def __call__(self, rows: Rows) -> CentreSums:
        """Add up prepared rows."""
        from scipy import sparse

        count, width = self.centres.shape
        sums = CentreSums(np.zeros(count), np.zeros((count, width)), 0.0)
        for _, X, weight in _parts(rows, self.fold):
            places, distances = nearest(X, self.centres)
            members = sparse.csr_matrix(
                (weight, (places, np.arange(len(weight)))), shape=(count, len(weight))
            )
            total = members @ X
            sums = sums.merge(
                CentreSums(
                    np.bincount(places, weights=weight, minlength=count).astype(np.float64),
                    total if isinstance(total, np.ndarray) else total.toarray(),
                    float(weight @ distances),
                )
            )
        return sums


def _parts(rows: Rows, fold: Fold) -> Iterator[tuple[slice, Any, Numbers]]:
    """Cut rows into runs, in float64, with the weights that they have in a fold."""
    used = learns(fold, rows.cells).astype(np.float64)
    weight = used if rows.weight is None else used * rows.weight
    count, width = rows.X.shape
    step = max(256, _ENTRIES // max(1, width)) if isinstance(rows.X, np.ndarray) else PART_ROWS
    for start in range(0, count, step):
        place = slice(start, min(start + step, count))
        yield place, rows.X[place].astype(np.float64, copy=False), weight[place]


Learnt = RowSample | CentreSums


@dataclass(frozen=True)
class Together:
    """What several models have learnt from the same rows."""

    each: tuple[Learnt, ...]

    def merge(self, other: Self) -> Self:
        """Merge what each has learnt."""
        merged: list[Any] = [
            mine.merge(theirs)  # type: ignore[arg-type]  # both are of one kind
            for mine, theirs in zip(self.each, other.each, strict=True)
        ]
        return type(self)(tuple(merged))


@dataclass(frozen=True)
class Asked:
    """What several models want to learn from the same rows."""

    each: tuple[Draw | Assign, ...]

    def __call__(self, rows: Rows) -> Together:
        """Learn it."""
        return Together(tuple(ask(rows) for ask in self.each))


def dump_learnt(parts: tuple[Together, ...]) -> list[bytes]:
    """Write what was learnt as a numpy archive of plain arrays."""
    arrays: dict[str, Any] = {"counts": np.array([len(part.each) for part in parts])}
    every = [learnt for part in parts for learnt in part.each]
    for number, learnt in enumerate(every):
        names = (
            ("keys", "values", "size") if isinstance(learnt, RowSample) else ("weight", "total", "inertia")
        )
        arrays |= {f"{number}.{name}": np.asarray(getattr(learnt, name)) for name in names}
    return [packed(arrays)]


def load_learnt(pieces: list[bytes]) -> tuple[Together, ...]:
    """Rebuild from `dump_learnt`; nothing is unpickled."""
    (piece,) = pieces
    arrays = unpacked(piece)
    counts = arrays.pop("counts").tolist()
    every = iter([_learnt(under(arrays, number)) for number in range(sum(counts))])
    return tuple(Together(tuple(next(every) for _ in range(count))) for count in counts)


def _learnt(arrays: dict[str, Any]) -> Learnt:
    if "keys" not in arrays:
        return CentreSums(arrays["weight"], arrays["total"], float(arrays["inertia"]))
    sample = RowSample(arrays["values"].shape[1], int(arrays["size"]))
    sample.keys, sample.values = arrays["keys"], arrays["values"]
    return sample
