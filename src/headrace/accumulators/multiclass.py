"""Metrics of scores for several classes in one pass: counts by class, log loss, one-vs-rest ranking, calibration."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from headrace.accumulators.bootstrap import Tally, estimate
from headrace.accumulators.encoding import decode_array, encode_array
from headrace.accumulators.histograms import NestedHistogram
from headrace.accumulators.metrics import Estimate
from headrace.accumulators.probabilities import (
    CALIBRATION_BINS,
    CALIBRATION_EDGES,
    calibration_curve,
    clipped_log,
)
from headrace.accumulators.rankings import ratio, roc_auc, roc_auc_error


class MulticlassMetrics:
    """Metrics of a row of probabilities; the class with the greatest is predicted, the first of equals.

    Parameters
    ----------
    classes : int
        Number of classes k.
    replicates : int
        Bootstrap replicates for 95 % intervals; 0 for none.
    bins : int
        Most bins of all score histograms together; each class has its equal part, at least 64.
    replicate_bins : int
        Most bins of a class's score in the replicates; fewer when k > 16, so that they stay near 1,024 in all.
        0 leaves ROC-AUC without interval.
    """

    def __init__(
        self, classes: int, *, replicates: int = 200, bins: int = 65_536, replicate_bins: int = 64
    ) -> None:
        self.classes = classes
        self.bins = bins
        self.replicate_bins = replicate_bins
        self.rows = 0
        self._count = min(replicate_bins, max(8, 1024 // classes))
        logits = np.linspace(-10.0, 10.0, max(self._count - 1, 0))
        self._edges = 1 / (1 + np.exp(-logits))
        self.confusion = np.zeros((classes, classes))
        self.histograms = [NestedHistogram(2, max(64, bins // classes)) for _ in range(classes)]
        # Cells: per class its weight, its predicted weight, its rightly predicted weight; per calibration bin
        # weight, sum of top scores, rightly predicted weight; log losses; per class, side and bin the weight.
        self._calibration_at = 3 * classes
        self._loss_at = self._calibration_at + 3 * CALIBRATION_BINS
        self._scores_at = self._loss_at + 1
        self.tally = Tally(self._scores_at + 2 * self._count * classes, replicates)

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
            From 0 to k - 1.
        scores : ndarray of float, shape (n, k)
            Probabilities of the classes.
        weight : ndarray of float, shape (n,), optional
            Non-negative row weights.
        keys : ndarray of uint64, shape (n,), optional
            Row keys; needed when there are replicates.
        """
        k, rows = self.classes, len(y)
        y = y.astype(np.int64, copy=False)
        w = np.ones(rows) if weight is None else weight.astype(np.float64, copy=False)
        s = scores.astype(np.float64, copy=False)
        predicted = np.argmax(s, axis=1)
        hit = predicted == y
        top = s[np.arange(rows), predicted]
        band = self._calibration_at + np.searchsorted(CALIBRATION_EDGES, top, side="right")
        loss = -clipped_log(scores[np.arange(rows), y])
        truth = (y[:, None] == np.arange(k)).astype(np.int64)
        columns = [
            (y, w),
            (k + predicted, w),
            (2 * k + y, w * hit),
            (band, w),
            (band + CALIBRATION_BINS, w * top),
            (band + 2 * CALIBRATION_BINS, w * hit),
            (np.full(rows, self._loss_at), w * loss),
        ]
        cells = np.column_stack([cell for cell, _ in columns])
        amounts = np.column_stack([amount for _, amount in columns])
        if self._count:
            bins = np.searchsorted(self._edges, s, side="right")
            own = self._scores_at + (2 * np.arange(k) + truth) * self._count + bins
            cells = np.concatenate([cells, own], axis=1)
            amounts = np.concatenate([amounts, np.broadcast_to(w[:, None], own.shape)], axis=1)
        self.tally.update(cells, amounts, keys)
        self.confusion += np.bincount(y * k + predicted, weights=w, minlength=k * k).reshape(k, k)
        for place, histogram in enumerate(self.histograms):
            histogram.update(s[:, place], truth[:, place], weight)
        self.rows += rows

    def merge(self, other: Self) -> Self:
        """Return the metrics of both sets of rows."""
        merged = type(self)(
            self.classes,
            replicates=self.tally.replicates,
            bins=self.bins,
            replicate_bins=self.replicate_bins,
        )
        merged.rows = self.rows + other.rows
        merged.confusion = self.confusion + other.confusion
        merged.histograms = [
            mine.merge(its) for mine, its in zip(self.histograms, other.histograms, strict=True)
        ]
        merged.tally = self.tally.merge(other.tally)
        return merged

    def _calibration(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weight, sum of top scores, rightly predicted weight, each (calibration bins, 1 + replicates)."""
        held = self.tally.sums[self._calibration_at : self._loss_at].reshape(3, CALIBRATION_BINS, -1)
        return held[0], held[1], held[2]

    def result(self) -> dict[str, Estimate]:
        """Name to estimate.

        Averages are over the classes that occur in truth or prediction, an undefined precision counted 0, as in
        scikit-learn; one-vs-rest ROC-AUC is over the classes for which it is defined.
        """
        k = self.classes
        true, predicted, right = self.tally.sums[: 3 * k].reshape(3, k, -1)
        total = true.sum(axis=0)
        weights, tops, hits = self._calibration()
        present = (true + predicted) > 0
        parts = {
            "precision": ratio(right, predicted),
            "recall": ratio(right, true),
            "f1": ratio(2 * right, true + predicted),
        }
        recalls = true > 0
        micro = ratio(right.sum(axis=0), total)
        values = {
            "accuracy": micro,
            "balanced_accuracy": ratio(np.nan_to_num(parts["recall"]).sum(axis=0), recalls.sum(axis=0)),
        }
        for name, undefined in parts.items():
            part = np.nan_to_num(undefined)
            values[f"{name}_macro"] = ratio(part.sum(axis=0), present.sum(axis=0))
            values[f"{name}_weighted"] = ratio((part * true).sum(axis=0), total)
            values[f"{name}_micro"] = micro
        values["log_loss"] = ratio(self.tally.sums[self._loss_at], total)
        values["calibration_error"] = ratio(np.abs(tops - hits).sum(axis=0), weights.sum(axis=0))
        estimates = {name: estimate(name, column) for name, column in values.items()}
        estimates["roc_auc_ovr"] = self._roc_auc()
        return estimates

    def _roc_auc(self) -> Estimate:
        fine = np.array([float(roc_auc(each.weights[:, 0], each.weights[:, 1])) for each in self.histograms])
        defined = np.isfinite(fine)
        if not defined.any():
            return Estimate(None)
        errors = [
            roc_auc_error(each.weights[:, 0], each.weights[:, 1], each.mixed) for each in self.histograms
        ]
        value, error = float(fine[defined].mean()), float(np.mean(np.array(errors)[defined]))
        if not self._count:
            return Estimate(value, error=error)
        sides = self.tally.sums[self._scores_at :].reshape(self.classes, 2, self._count, -1)
        coarse = roc_auc(np.moveaxis(sides[:, 0], 1, 0), np.moveaxis(sides[:, 1], 1, 0))[defined]
        return estimate("roc_auc_ovr", coarse.mean(axis=0), value, error)

    def curves(self) -> dict[str, Any]:
        """Draw ``confusion`` (weights, rows by true class) and ``calibration`` of the predicted class."""
        weights, tops, hits = self._calibration()
        return {"confusion": self.confusion.tolist(), "calibration": calibration_curve(weights, tops, hits)}

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {
            "classes": self.classes,
            "bins": self.bins,
            "replicate_bins": self.replicate_bins,
            "rows": self.rows,
            "confusion": encode_array(self.confusion),
            "histograms": [histogram.state() for histogram in self.histograms],
            "tally": self.tally.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        metrics = cls(
            state["classes"], bins=state["bins"], replicate_bins=state["replicate_bins"], replicates=0
        )
        metrics.rows = state["rows"]
        metrics.confusion = decode_array(state["confusion"])
        metrics.histograms = [NestedHistogram.from_state(each) for each in state["histograms"]]
        metrics.tally = Tally.from_state(state["tally"])
        return metrics
