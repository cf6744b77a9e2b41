"""Metrics of predictions of a number in one pass: errors, explained share, quantiles of the residual."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from headrace.accumulators.bootstrap import Tally, estimate
from headrace.accumulators.histograms import NestedHistogram
from headrace.accumulators.metrics import Estimate
from headrace.accumulators.rankings import ratio
from headrace.accumulators.rowsample import RowSample

_PLOTTED = 1000
_ROUNDING = 64 * np.finfo(np.float64).eps


class RegressionMetrics:
    """Metrics of predictions; the residual is prediction minus truth.

    Sums are exact; those of the target are of its distance from a shift near its mean, so that its variance keeps its
    digits. The median absolute error comes from a `NestedHistogram`: exact while there are at most `bins` distinct
    residuals, else with a bound; its interval is that of the order statistics, rank 1/2 +- 0.98 sqrt(sum w^2) / sum w,
    which is what the percentile interval of a Poisson bootstrap tends to.

    Parameters
    ----------
    replicates : int
        Bootstrap replicates for 95 % intervals; 0 for none.
    bins : int
        Most bins of the histogram of residuals.
    sample : int
        Rows of the sample that is drawn.
    """

    def __init__(self, *, replicates: int = 200, bins: int = 16_384, sample: int = _PLOTTED) -> None:
        self.rows = 0
        self.shift: float | None = None
        self.least, self.most = np.inf, -np.inf
        self.square_weight = 0.0
        # Cells: sums of w, w d, w d^2, w e, w e^2, w |e| with d = y - shift and e = prediction - y.
        self.tally = Tally(6, replicates)
        self.histogram = NestedHistogram(2, bins, folded=False)
        self.sample = RowSample(2, sample)

    def update(
        self,
        y: np.ndarray,
        scores: np.ndarray,
        weight: np.ndarray | None = None,
        keys: np.ndarray | None = None,
    ) -> None:
        """Add rows.

        Parameters
        ----------
        y : ndarray of float, shape (n,)
            The truth.
        scores : ndarray of float, shape (n,)
            The predictions.
        weight : ndarray of float, shape (n,), optional
            Non-negative row weights.
        keys : ndarray of uint64, shape (n,), optional
            Row keys; needed when there are replicates, and for the sample that is drawn.
        """
        if not len(y):
            return
        y = y.astype(np.float64, copy=False)
        predictions = scores.astype(np.float64, copy=False)
        w = np.ones(len(y)) if weight is None else weight.astype(np.float64, copy=False)
        if self.shift is None:
            self.shift = float(np.mean(y))
        d, e = y - self.shift, predictions - y
        size = np.abs(e)
        self.tally.update_all(np.column_stack([w, w * d, w * d * d, w * e, w * e * e, w * size]), keys)
        self.histogram.update(size, (e >= 0).astype(np.int64), weight)
        weighed = y[w > 0]
        if len(weighed):
            self.least = min(self.least, float(weighed.min()))
            self.most = max(self.most, float(weighed.max()))
        self.square_weight += float(w @ w)
        self.rows += len(y)
        if keys is not None:
            picked = self.sample.picks(keys)
            self.sample.update(keys[picked], np.column_stack([predictions[picked], e[picked]]))

    def merge(self, other: Self) -> Self:
        """Return the metrics of both sets of rows."""
        merged = type(self)(
            replicates=self.tally.replicates, bins=self.histogram.limit, sample=self.sample.size
        )
        merged.rows = self.rows + other.rows
        merged.least, merged.most = min(self.least, other.least), max(self.most, other.most)
        merged.square_weight = self.square_weight + other.square_weight
        merged.shift = other.shift if self.shift is None else self.shift
        sums = other.tally.sums.copy()
        if self.shift is not None and other.shift is not None:
            # sum w (d + c)^2 = sum w d^2 + 2 c sum w d + c^2 sum w, with c the distance of the shifts
            moved = other.shift - self.shift
            sums[2] += moved * (2 * sums[1] + moved * sums[0])
            sums[1] += moved * sums[0]
        merged.tally.sums = self.tally.sums + sums
        merged.histogram = self.histogram.merge(other.histogram)
        merged.sample = self.sample.merge(other.sample)
        return merged

    def result(self) -> dict[str, Estimate]:
        """Name to estimate; R2 and explained variance are undefined for a constant truth."""
        total, d, dd, e, ee, size = self.tally.sums
        spread = dd - ratio(d * d, total) if self.least < self.most else np.zeros_like(total)
        # A replicate may hold one value alone, of which rounding leaves a little: no spread to explain.
        spread = np.where(spread > _ROUNDING * dd, spread, 0.0)
        mse = ratio(ee, total)
        values = {
            "mse": mse,
            "rmse": np.sqrt(mse),
            "mae": ratio(size, total),
            "mean_error": ratio(e, total),
            "r2": 1 - ratio(ee, spread),
            "explained_variance": 1 - ratio(np.maximum(ee - ratio(e * e, total), 0.0), spread),
        }
        estimates = {name: estimate(name, column) for name, column in values.items()}
        estimates["median_absolute_error"] = self._median()
        return estimates

    def _median(self) -> Estimate:
        value, error = self.histogram.quantile(0.5)
        if value is None or not self.tally.replicates:
            return Estimate(value, error=error)
        reach = 0.98 * np.sqrt(self.square_weight) / self.tally.sums[0, 0]
        low, _ = self.histogram.quantile(max(0.0, 0.5 - reach))
        high, _ = self.histogram.quantile(min(1.0, 0.5 + reach))
        return Estimate(value, low, high, error)

    def curves(self) -> dict[str, Any]:
        """Draw the residuals.

        Returns
        -------
        dict
            ``residuals``: [prediction, residual] of a uniform sample of rows; ``residual_histogram``: ``edges`` (41),
            even up to the 99 % quantile of the residual's size on either side, and ``weights`` (40),
            the rest counted in the outer bins.
        """
        reach = self.histogram.quantile(0.99)[0] or 1.0
        edges = np.linspace(-reach, reach, 41)
        residuals = np.concatenate([-self.histogram.middle, self.histogram.middle])
        places = np.clip(np.searchsorted(edges, residuals, side="right") - 1, 0, 39)
        weights = np.bincount(places, weights=self.histogram.weights.T.ravel(), minlength=40)
        return {
            "residuals": self.sample.values.tolist(),
            "residual_histogram": {"edges": edges.tolist(), "weights": weights.tolist()},
        }

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {
            "rows": self.rows,
            "shift": self.shift,
            "range": [self.least, self.most] if self.least <= self.most else None,
            "square_weight": self.square_weight,
            "tally": self.tally.state(),
            "histogram": self.histogram.state(),
            "sample": self.sample.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        metrics = cls(replicates=0)
        metrics.rows = state["rows"]
        metrics.shift = state["shift"]
        metrics.least, metrics.most = state["range"] or (np.inf, -np.inf)
        metrics.square_weight = state["square_weight"]
        metrics.tally = Tally.from_state(state["tally"])
        metrics.histogram = NestedHistogram.from_state(state["histogram"])
        metrics.sample = RowSample.from_state(state["sample"])
        return metrics
