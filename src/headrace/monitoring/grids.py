"""Cells of each column, cut once from the profile of the training data, in which later rows are counted (pure)."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from headrace.packaging.signature import Signature
    from headrace.profiling.profile import ColumnProfile, Profile

CUTS = 128
"""Cells of a numeric column at most, of equal share in training."""
VALUES = 100
"""Categories that are counted one by one; others together."""
SCORE_CUTS = 50
"""Cells of equal width in which probabilities are counted, those of the test's histogram of scores."""
_MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3, "day": 86_400e6}


@dataclass(frozen=True)
class ColumnGrid:
    """The cells of one column, and how many training rows lie in each.

    Numbers and times have the cells: below the least of training; one up to and including each of `cuts`; up to the
    largest of training; above it; missing. Categories have one for each of `values`; other known ones; unseen;
    missing.

    Attributes
    ----------
    name : str
    kind : {"numeric", "boolean", "string", "datetime"}
    reference : ndarray of float64, shape (cells,)
        Training rows of each cell; all 0 when nothing is known to compare with.
    cuts : ndarray of float64, shape (k,)
        Ascending; times in microseconds since 1970. Empty for categories.
    low, high : float
        Extremes of training.
    values : tuple of str or float
        The categories that are counted one by one, the most frequent first.
    known : frozenset of str
        All categories of training; empty when a profile does not hold them all.
    singles : int
        Categories that occurred once in training.
    error : float
        Proved bound on the error of any share of `reference`.
    compared : bool
        Whether the distribution is compared: times move by themselves, texts hardly repeat.
    """

    name: str
    kind: str
    reference: NDArray[np.float64]
    cuts: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    low: float = 0.0
    high: float = 0.0
    values: tuple[str | float, ...] = ()
    known: frozenset[str] = frozenset()
    singles: int = 0
    error: float = 0.0
    compared: bool = True

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.reference)

    @property
    def ordered(self) -> bool:
        """Whether cells lie on a line."""
        return self.kind in {"numeric", "datetime"}

    @cached_property
    def places(self) -> dict[Any, int]:
        """Cell of each category."""
        return {value: place for place, value in enumerate(self.values)}

    @classmethod
    def of_numbers(cls, name: str, column: ColumnProfile, kind: str) -> Self:
        """Cut a numeric or time column at its quantiles."""
        overall = column.overall
        sketch, moments = overall.quantiles, overall.moments
        if sketch is None or not sketch.n or moments is None:
            return cls(name, kind, np.zeros(4), np.empty(0), compared=False)
        scale = unit_of(column.type) if kind == "datetime" else 1.0
        low, high = float(moments.minimum), float(moments.maximum)
        cuts = np.unique(sketch.quantile(np.arange(1, CUTS) / CUTS)) if kind == "numeric" else np.empty(0)
        cuts = cuts[(cuts >= low) & (cuts < high)]
        shares = np.diff(sketch.cdf(cuts), prepend=0.0, append=1.0) * sketch.n if len(cuts) else [sketch.n]
        reference = np.concatenate([[overall.neg_infs], shares, [overall.pos_infs, overall.missing]])
        return cls(
            name,
            kind,
            reference.astype(np.float64),
            cuts * scale,
            low * scale,
            high * scale,
            error=float(sketch.rank_error),
            compared=kind == "numeric",
        )

    @classmethod
    def of_values(cls, name: str, column: ColumnProfile, kind: str) -> Self:
        """Take the most frequent categories of a column."""
        overall = column.overall
        if column.is_text:
            return cls(name, kind, np.array([overall.valid, 0.0, overall.missing]), compared=False)
        items = [(_plain(value, kind), count) for value, count in overall.hitters.items()]
        top = items[:VALUES]
        rest = max(0, overall.valid - sum(count for _, count in top))
        exact = bool(overall.hitters.exact)
        return cls(
            name,
            kind,
            np.array([*(count for _, count in top), rest, 0.0, overall.missing], dtype=np.float64),
            values=tuple(value for value, _ in top),
            known=frozenset(str(value) for value, _ in items) if exact else frozenset(),
            singles=sum(1 for _, count in items if count == 1) if exact else 0,
            error=0.0 if exact else overall.hitters.error / max(1, overall.valid),
        )

    @classmethod
    def of_probabilities(cls, name: str, counts: NDArray[np.float64] | None = None) -> Self:
        """Cut [0, 1] in 50 cells of equal width.

        Parameters
        ----------
        counts : ndarray, shape (50,), optional
            Test rows of each, to compare with.
        """
        held = np.zeros(SCORE_CUTS) if counts is None else counts
        cuts = np.arange(1, SCORE_CUTS) / SCORE_CUTS
        return cls(name, "numeric", np.concatenate([[0.0], held, [0.0, 0.0]]), cuts, 0.0, 1.0)


@dataclass(frozen=True)
class Grid:
    """The cells of a model's inputs and of what it says.

    Attributes
    ----------
    inputs : dict of str to ColumnGrid
    scores : dict of str to ColumnGrid
        One for each class whose probability is followed (of two classes the second, of more the first ten); of a
        regression one by the name of the target.
    task : str
    classes : tuple of scalars
    threshold : float or None
        From which probability on the second of two classes is predicted; None for the most probable.
    """

    inputs: dict[str, ColumnGrid]
    scores: dict[str, ColumnGrid]
    task: str
    classes: tuple[Any, ...] = ()
    threshold: float | None = None

    @classmethod
    def of(cls, profile: Profile, signature: Signature, metrics: Mapping[str, Any] | None = None) -> Self:
        """Cut the cells of a model.

        Parameters
        ----------
        profile : Profile
            Of the training data.
        signature : Signature
            What the model takes and gives.
        metrics : mapping, optional
            The assessment on the test data; its histogram of scores is what later scores are compared with.
        """
        inputs = {}
        for column in signature.inputs:
            held = profile.columns.get(column.name)
            if held is None:
                continue
            make = ColumnGrid.of_numbers if column.kind in {"numeric", "datetime"} else ColumnGrid.of_values
            inputs[column.name] = make(column.name, held, column.kind)
        scores = _scores(profile, signature, metrics or {})
        return cls(inputs, scores, signature.task, signature.classes, signature.threshold)

    @cached_property
    def digest(self) -> str:
        """What two grids share when counts of one can be added to counts of the other."""
        told = [
            [grid.name, grid.kind, grid.cuts.tolist(), grid.low, grid.high, list(grid.values)]
            for grid in (*self.inputs.values(), *self.scores.values())
        ]
        return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:16]


def unit_of(type_name: str) -> float:
    """Return how many microseconds one unit of an Arrow time type is.

    Examples
    --------
    >>> unit_of("timestamp[ms, tz=UTC]"), unit_of("date32[day]")
    (1000.0, 86400000000.0)
    """
    unit = re.search(r"\[(\w+)", type_name)
    return _MICROSECONDS.get(unit.group(1) if unit else "day", 1.0)


def _scores(profile: Profile, signature: Signature, metrics: Mapping[str, Any]) -> dict[str, ColumnGrid]:
    if signature.task == "regression":
        target = signature.target
        held = profile.columns.get(target) if target else None
        if target is None or held is None or held.kind != "numeric":
            return {}
        grid = ColumnGrid.of_numbers(target, held, "numeric")
        # A regression says less extreme things than its target: the cells are the target's, its counts are not.
        return {target: _without_reference(grid)}
    classes = [str(label) for label in signature.classes]
    if len(classes) == 2:
        histogram = (metrics.get("curves") or {}).get("score_histogram") or {}
        counts = np.asarray(histogram.get("classes", []), dtype=np.float64)
        known = counts.ndim == 2 and counts.shape[1] == SCORE_CUTS
        return {classes[1]: ColumnGrid.of_probabilities(classes[1], counts.sum(axis=0) if known else None)}
    return {name: ColumnGrid.of_probabilities(name) for name in classes[:10]}


def _without_reference(grid: ColumnGrid) -> ColumnGrid:
    return ColumnGrid(
        grid.name, grid.kind, np.zeros(grid.cells), grid.cuts, grid.low, grid.high, error=0.0, compared=True
    )


def _plain(value: Any, kind: str) -> str | float:
    return str(value) if kind == "string" else float(value)
