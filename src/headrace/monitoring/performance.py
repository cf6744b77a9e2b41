"""How well a model does by labels that came later, and how fast it answers: sums that add up exactly (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.metrics import Estimate
from headrace.packaging.signature import decided

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BINS = 200
"""Cells of the probability of the second class, for ROC-AUC."""
LATENCIES = np.geomspace(1e-5, 1e2, 141)
"""Edges of the cells of seconds: twenty for each factor of ten, so a quantile is within 6 %."""
_Z = 1.959964


@dataclass(frozen=True)
class Sums:
    """Number, sum and sum of squares of a loss."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Self:
        """Sum finite values."""
        return cls(len(values), float(values.sum()), float(np.square(values).sum()))

    def merge(self, other: Self) -> Self:
        """Return the sums of both."""
        return type(self)(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """NaN of nothing."""
        return self.total / self.n if self.n else math.nan

    @property
    def variance(self) -> float:
        """Of one value; NaN of fewer than two."""
        if self.n < 2:
            return math.nan
        return max(0.0, (self.squares - self.total * self.mean) / (self.n - 1))


@dataclass(frozen=True)
class Outcomes:
    """What labels say of predictions.

    Attributes
    ----------
    losses : dict of str to Sums
        Of a classification ``error``, ``log_loss`` and ``brier`` (squared error summed over classes, of two classes of
        the second alone, as scikit-learn does); of a regression ``squared_error``, ``absolute_error`` and ``bias``.
    ranks : ndarray of int64, shape (2, 200)
        Of two classes: rows of the first and of the second by the probability of the second.
    pairs : dict of str to Sums
        Loss less that of the champion on the same row, where both have answered.
    """

    losses: dict[str, Sums] = field(default_factory=dict)
    ranks: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, BINS), dtype=np.int64))
    pairs: dict[str, Sums] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        outputs: NDArray[Any],
        labels: Sequence[Any],
        classes: Sequence[Any],
        champion: NDArray[Any] | None = None,
        *,
        threshold: float | None = None,
        champion_threshold: float | None = None,
    ) -> Self:
        """Hold predictions against labels.

        Parameters
        ----------
        outputs : ndarray
            Probabilities, shape (rows, classes), or predictions, shape (rows,).
        labels : sequence, length rows
            None, and for a classification what is no class, is passed over.
        classes : sequence of scalars
            Empty for a regression.
        champion : ndarray, optional
            What the champion said of the same rows, shaped like `outputs`.
        threshold, champion_threshold : float, optional
            From which probability on the second of two classes is predicted; by default the most probable is.
        """
        places = {str(label): place for place, label in enumerate(classes)}
        if classes:
            found = [places.get(str(label)) if label is not None else None for label in labels]
        else:
            found = [label if _is_number(label) else None for label in labels]
        known = np.array([value is not None for value in found], dtype=bool)
        if not known.any():
            return cls()
        truth = np.array([value for value in found if value is not None])
        said = np.asarray(outputs)[known]
        losses = row_losses(said, truth, threshold)
        pairs = {}
        if champion is not None and champion.shape == np.asarray(outputs).shape:
            other = row_losses(champion[known], truth, champion_threshold)
            pairs = {name: Sums.of(values - other[name]) for name, values in losses.items()}
        ranks = np.zeros((2, BINS), dtype=np.int64)
        if said.ndim == 2 and said.shape[1] == 2:
            cells = np.clip((said[:, 1] * BINS).astype(int), 0, BINS - 1)
            np.add.at(ranks, (truth, cells), 1)
        return cls({name: Sums.of(values) for name, values in losses.items()}, ranks, pairs)

    @property
    def rows(self) -> int:
        """Labels that were held against a prediction."""
        return next((sums.n for sums in self.losses.values()), 0)

    def merge(self, other: Self) -> Self:
        """Return the outcomes of both."""
        return type(self)(
            _merged(self.losses, other.losses), self.ranks + other.ranks, _merged(self.pairs, other.pairs)
        )

    def metrics(self) -> dict[str, Estimate]:
        """Return each metric with its 95 % interval.

        Means of losses have the interval of the central limit, the error rate and accuracy that of Wilson (1927),
        ROC-AUC that of Hanley and McNeil (1982), with an error of half the pairs that share a cell.
        """
        if not self.rows:
            return {}
        if "error" in self.losses:
            return self._classification()
        squared, absolute, bias = (self.losses[name] for name in ("squared_error", "absolute_error", "bias"))
        wide = _mean(squared)
        roots = [math.sqrt(max(0.0, value or 0.0)) for value in (wide.value, wide.low, wide.high)]
        return {"rmse": Estimate(*roots), "mae": _mean(absolute), "bias": _mean(bias)}

    def _classification(self) -> dict[str, Estimate]:
        error = self.losses["error"]
        low, high = wilson(error.total, error.n)
        found = {
            "accuracy": Estimate(1 - error.mean, 1 - high, 1 - low),
            "log_loss": _mean(self.losses["log_loss"]),
            "brier": _mean(self.losses["brier"]),
        }
        area = _area(self.ranks)
        return found if area is None else {"roc_auc": area, **found}

    def state(self) -> dict[str, Any]:
        """Everything held, as finite JSON."""
        ranks = self.ranks.tolist() if self.ranks.any() else None
        return {"losses": _written(self.losses), "ranks": ranks, "pairs": _written(self.pairs)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        ranks = np.zeros((2, BINS), dtype=np.int64) if state["ranks"] is None else np.array(state["ranks"])
        return cls(_read(state["losses"]), ranks, _read(state["pairs"]))


@dataclass(frozen=True)
class Traffic:
    """Calls of a model.

    Attributes
    ----------
    requests, rows : int
    latencies : ndarray of int64, shape (142,)
        Calls by `LATENCIES`, with those below and above.
    seconds : float
        In all calls.
    failures : dict of str to int
        Requests without an answer, by HTTP status.
    findings : dict of str to int
        Rows by ``column: check`` of the guard.
    unmatched : int
        Labels whose request is not known any more. Where another process knows it, that one counts as many below 0.
    dropped : int
        Events that were not counted because the queue was full.
    """

    requests: int = 0
    rows: int = 0
    latencies: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(LATENCIES) + 1, dtype=np.int64))
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    unmatched: int = 0
    dropped: int = 0

    @classmethod
    def of_call(cls, requests: int, rows: int, seconds: float, findings: dict[str, int]) -> Self:
        """Count one call."""
        cells = np.zeros(len(LATENCIES) + 1, dtype=np.int64)
        cells[np.searchsorted(LATENCIES, seconds)] = requests
        return cls(requests, rows, cells, seconds, findings=findings)

    def merge(self, other: Self) -> Self:
        """Return the traffic of both."""
        return type(self)(
            self.requests + other.requests,
            self.rows + other.rows,
            self.latencies + other.latencies,
            self.seconds + other.seconds,
            _added(self.failures, other.failures),
            _added(self.findings, other.findings),
            self.unmatched + other.unmatched,
            self.dropped + other.dropped,
        )

    @property
    def errors(self) -> int:
        """Requests that failed by the server's fault (5xx)."""
        return sum(count for status, count in self.failures.items() if status.startswith("5"))

    @property
    def error_rate(self) -> float:
        """Of all requests that the client did right; 0 of none."""
        whole = self.requests + self.errors
        return self.errors / whole if whole else 0.0

    def latency(self, q: float) -> float:
        """Return a quantile of the seconds of a call, within 6 %; NaN of none."""
        upto = np.cumsum(self.latencies)
        if not upto[-1]:
            return math.nan
        place = int(np.searchsorted(upto, q * upto[-1]))
        return float(LATENCIES[min(place, len(LATENCIES) - 1)])

    def state(self) -> dict[str, Any]:
        """Everything held, as finite JSON."""
        cells = {str(i): int(self.latencies[i]) for i in np.flatnonzero(self.latencies)}
        return {
            "requests": self.requests,
            "rows": self.rows,
            "latencies": cells,
            "seconds": self.seconds,
            "failures": self.failures,
            "findings": self.findings,
            "unmatched": self.unmatched,
            "dropped": self.dropped,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        cells = np.zeros(len(LATENCIES) + 1, dtype=np.int64)
        for place, count in state["latencies"].items():
            cells[int(place)] = count
        return cls(**{**state, "latencies": cells})


def row_losses(
    said: NDArray[Any], truth: NDArray[Any], threshold: float | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return the losses of each row.

    Parameters
    ----------
    said : ndarray
        Probabilities, shape (rows, classes), or predictions, shape (rows,).
    truth : ndarray, shape (rows,)
        Place of the class, or the number.
    threshold : float, optional
        See `headrace.packaging.signature.decided`.
    """
    if said.ndim == 1:
        gap = said.astype(np.float64) - truth.astype(np.float64)
        return {"squared_error": gap**2, "absolute_error": np.abs(gap), "bias": gap}
    at = np.arange(len(said))
    right = said[at, truth].astype(np.float64)
    hot = np.zeros(said.shape)
    hot[at, truth] = 1.0
    squares = np.square(said - hot)
    eps = np.finfo(np.float64).eps
    return {
        "error": (decided(said, threshold) != truth).astype(np.float64),
        "log_loss": -np.log(np.clip(right, eps, 1.0)),
        "brier": squares[:, 1] if said.shape[1] == 2 else squares.sum(axis=1),
    }


def wilson(count: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a rate after Wilson (1927); (0, 1) of nothing."""
    if not n:
        return 0.0, 1.0
    share = count / n
    middle = share + _Z**2 / (2 * n)
    reach = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    return max(0.0, (middle - reach) / (1 + _Z**2 / n)), min(1.0, (middle + reach) / (1 + _Z**2 / n))


def _mean(sums: Sums) -> Estimate:
    if sums.n < 2:
        return Estimate(sums.mean, None, None)
    reach = _Z * math.sqrt(sums.variance / sums.n)
    return Estimate(sums.mean, sums.mean - reach, sums.mean + reach)


def _area(ranks: NDArray[np.int64]) -> Estimate | None:
    negatives, positives = ranks.astype(np.float64)
    n, m = negatives.sum(), positives.sum()
    if not n or not m:
        return None
    below = np.cumsum(negatives) - negatives
    ties = float((positives * negatives).sum()) / (n * m)
    area = float((positives * (below + negatives / 2)).sum()) / (n * m)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (n * m)
    reach = _Z * math.sqrt(max(0.0, variance))
    return Estimate(area, max(0.0, area - reach), min(1.0, area + reach), ties / 2)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and math.isfinite(float(value))


def _merged(a: dict[str, Sums], b: dict[str, Sums]) -> dict[str, Sums]:
    return {name: a.get(name, Sums()).merge(b.get(name, Sums())) for name in dict.fromkeys([*a, *b])}


def _added(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    return {name: a.get(name, 0) + b.get(name, 0) for name in dict.fromkeys([*a, *b])}


def _written(sums: dict[str, Sums]) -> dict[str, list[float]]:
    return {name: [each.n, each.total, each.squares] for name, each in sums.items()}


def _read(state: dict[str, Any]) -> dict[str, Sums]:
    return {name: Sums(*each) for name, each in state.items()}
