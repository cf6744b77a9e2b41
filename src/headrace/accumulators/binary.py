"""Metrics of two-class scores in one pass: thresholded counts, ranking, probability and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.bootstrap import Tally, estimate
from headrace.accumulators.encoding import decode_array, encode_array
from headrace.accumulators.histograms import NestedHistogram
from headrace.accumulators.probabilities import CALIBRATION_EDGES, calibration_curve, clipped_log
from headrace.accumulators.rankings import (
    average_precision,
    average_precision_within,
    curve_points,
    ratio,
    roc_auc,
    roc_auc_error,
)

if TYPE_CHECKING:
    from headrace.accumulators.metrics import Estimate


class BinaryMetrics:
    """Metrics of the probability of class 1.

    Sums (accuracy, log loss, ...) are exact. ROC-AUC and average precision come from a `NestedHistogram`: exact
    while there are at most `bins` distinct scores, else with a bound. Replicates keep the weight of each class in
    `replicate_bins` fixed bins, even in the logit, to which the threshold and the calibration edges are added.

    Parameters
    ----------
    threshold : float
        A row is predicted as class 1 when its score is at least this.
    replicates : int
        Bootstrap replicates for 95 % intervals; 0 for none.
    bins : int
        Most bins of the score histogram.
    replicate_bins : int
        Bins of the replicates.
    """

    def __init__(
        self, *, threshold: float = 0.5, replicates: int = 200, bins: int = 65_536, replicate_bins: int = 256
    ) -> None:
        self.threshold = threshold
        self.replicate_bins = replicate_bins
        self.rows = 0
        logits = np.linspace(-12.0, 12.0, replicate_bins - 1)
        self.edges = np.unique(np.concatenate([1 / (1 + np.exp(-logits)), CALIBRATION_EDGES, [threshold]]))
        self._count = len(self.edges) + 1
        self.histogram = NestedHistogram(2, bins)
        # Cells: class 0 by bin, class 1 by bin, sum of log losses, sum of squared errors.
        self.tally = Tally(2 * self._count + 2, replicates)
        self.score_sums = np.zeros(self._count)

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
        y : ndarray of int, shape (n,)
            0 or 1.
        scores : ndarray of float, shape (n,)
            Probability of class 1, between 0 and 1.
        weight : ndarray of float, shape (n,), optional
            Non-negative row weights.
        keys : ndarray of uint64, shape (n,), optional
            Row keys; needed when there are replicates.
        """
        y = y.astype(np.int64, copy=False)
        w = np.ones(len(y)) if weight is None else weight.astype(np.float64, copy=False)
        s = scores.astype(np.float64, copy=False)
        loss = -clipped_log(np.where(y == 1, scores, 1 - scores))
        cell = np.searchsorted(self.edges, s, side="right")
        cells = np.empty((len(y), 3), dtype=np.int64)
        cells[:, 0] = cell + y * self._count
        cells[:, 1:] = 2 * self._count, 2 * self._count + 1
        amounts = np.column_stack([w, w * loss, w * (s - y) ** 2])
        self.tally.update(cells, amounts, keys)
        self.score_sums += np.bincount(cell, weights=w * s, minlength=self._count)
        self.histogram.update(s, y, weight)
        self.rows += len(y)

    def merge(self, other: Self) -> Self:
        """Return the metrics of both sets of rows."""
        merged = self._empty()
        merged.rows = self.rows + other.rows
        merged.histogram = self.histogram.merge(other.histogram)
        merged.tally = self.tally.merge(other.tally)
        merged.score_sums = self.score_sums + other.score_sums
        return merged

    def _empty(self) -> Self:
        return type(self)(
            threshold=self.threshold,
            replicates=self.tally.replicates,
            bins=self.histogram.limit,
            replicate_bins=self.replicate_bins,
        )

    def _classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights by bin and replicate of class 0 and of class 1, each (bins, 1 + replicates)."""
        return self.tally.sums[: self._count], self.tally.sums[self._count : 2 * self._count]

    def _confusion(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Count tn, fp, fn, tp (class 1 is positive), each (1 + replicates,)."""
        negatives, positives = self._classes()
        cut = int(np.searchsorted(self.edges, self.threshold, side="right"))
        return (
            negatives[:cut].sum(axis=0),
            negatives[cut:].sum(axis=0),
            positives[:cut].sum(axis=0),
            positives[cut:].sum(axis=0),
        )

    def _calibration(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weight, sum of scores and weight of class 1, each (calibration bins, 1 + replicates)."""
        negatives, positives = self._classes()
        weights = negatives + positives
        # A replicate's sum of scores is its weight in a bin times the bin's mean score, exact for the data.
        scores = weights * np.nan_to_num(ratio(self.score_sums, weights[:, 0]))[:, None]
        starts = np.concatenate([[0], np.searchsorted(self.edges, CALIBRATION_EDGES, side="right")])
        added = (np.add.reduceat(part, starts, axis=0) for part in (weights, scores, positives))
        return next(added), next(added), next(added)

    def result(self) -> dict[str, Estimate]:
        """Name to estimate; None for the undefined, such as ROC-AUC of one class."""
        negatives, positives = self._classes()
        tn, fp, fn, tp = self._confusion()
        total = tn + fp + fn + tp
        weights, scores, observed = self._calibration()
        recall, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
        values = {
            "accuracy": ratio(tp + tn, total),
            "balanced_accuracy": np.where(
                np.isnan(recall),
                specificity,
                np.where(np.isnan(specificity), recall, (recall + specificity) / 2),
            ),
            "precision": ratio(tp, tp + fp),
            "recall": recall,
            "f1": ratio(2 * tp, 2 * tp + fp + fn),
            "log_loss": ratio(self.tally.sums[-2], total),
            "brier": ratio(self.tally.sums[-1], total),
            "calibration_error": ratio(np.abs(scores - observed).sum(axis=0), weights.sum(axis=0)),
        }
        estimates = {name: estimate(name, column) for name, column in values.items()}
        fine = self.histogram.weights.T
        mixed = self.histogram.mixed
        estimates["roc_auc"] = estimate(
            "roc_auc",
            roc_auc(negatives, positives),
            float(roc_auc(fine[0], fine[1])),
            roc_auc_error(fine[0], fine[1], mixed),
        )
        precision, error = average_precision_within(fine[0], fine[1], mixed)
        estimates["average_precision"] = estimate(
            "average_precision", average_precision(negatives, positives), precision, error
        )
        return estimates

    def curves(self) -> dict[str, Any]:
        """Draw ``roc``, ``pr``, ``calibration``, ``confusion`` and ``score_histogram``.

        Returns
        -------
        dict
            ``calibration``: a list of ``{"score", "observed", "low", "high", "weight"}`` for the bins with weight;
            ``confusion``: weights, rows by true class; ``score_histogram``: ``edges`` (51) and for ``classes`` 0 and
            1 the weight in each of 50 bins.
        """
        weights, scores, observed = self._calibration()
        tn, fp, fn, tp = (float(part[0]) for part in self._confusion())
        fiftieth = np.minimum((self.histogram.middle * 50).astype(np.int64), 49)
        return {
            **curve_points(*self.histogram.weights.T),
            "calibration": calibration_curve(weights, scores, observed),
            "confusion": [[tn, fp], [fn, tp]],
            "score_histogram": {
                "edges": (np.arange(51) / 50).tolist(),
                "classes": [
                    np.bincount(fiftieth, weights=part, minlength=50).tolist()
                    for part in self.histogram.weights.T
                ],
            },
        }

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {
            "threshold": self.threshold,
            "replicate_bins": self.replicate_bins,
            "rows": self.rows,
            "histogram": self.histogram.state(),
            "tally": self.tally.state(),
            "score_sums": encode_array(self.score_sums),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        metrics = cls(threshold=state["threshold"], replicate_bins=state["replicate_bins"], replicates=0)
        metrics.rows = state["rows"]
        metrics.histogram = NestedHistogram.from_state(state["histogram"])
        metrics.tally = Tally.from_state(state["tally"])
        metrics.score_sums = decode_array(state["score_sums"])
        return metrics
