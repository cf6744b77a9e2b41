"""Two models on the same test rows: the difference of a metric with its interval, without sampling anything."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.accumulators.metrics import HIGHER_IS_BETTER, primary_metric
from headrace.accumulators.probabilities import clipped_log
from headrace.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]
    # A metric, and what each row adds to it beyond the mean, shape (rows,).
    Measured = tuple[float, NDArray[np.float64]]

FEWEST_ROWS = 30
"""Rows in common below which a normal distribution of the difference is not believed."""
Z = 1.959963984540054
"""Of a two-sided interval of 95 %."""


@dataclass(frozen=True)
class Paired:
    """How two models differ on the test rows that they have in common."""

    metric: str
    rows: int
    first: float
    """The metric of the first model on these rows."""
    second: float
    difference: float
    """By how much the second is better; negative when it is worse, whatever the direction of the metric."""
    low: float
    """Lower end of the 95 % interval of `difference`."""
    high: float
    p: float
    """Of the hypothesis that they do not differ, two-sided."""

    @property
    def better(self) -> bool:
        """Whether the second is better at 95 %."""
        return self.low > 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return asdict(self)

    def __str__(self) -> str:
        way, low, high = "better", self.low, self.high
        if self.difference < 0:
            way, low, high = "worse", -self.high, -self.low
        return (
            f"{self.metric} {self.first:.4f} and {self.second:.4f} on {self.rows:,} common test rows: {way} by "
            f"{abs(self.difference):.4f} [{low:.4f}, {high:.4f}], p {self.p:.2g}"
        )


def metrics_to_test(task: str, classes: int) -> tuple[str, ...]:
    """Name the metrics of which a difference can be tested."""
    if task == "regression":
        return ("rmse", "mse", "mae", "r2")
    if task != "classification":
        return ()
    return (
        ("roc_auc", "average_precision", "log_loss", "brier", "accuracy")
        if classes == 2
        else ("log_loss", "accuracy")
    )


def metric_to_test(task: str, classes: int, wanted: str | None) -> str | None:
    """Choose the metric that is tested: the wanted one, else the primary one of the task; None for clusters."""
    known = metrics_to_test(task, classes)
    if not known:
        return None
    return wanted if wanted in known else primary_metric(task, classes)


def paired_test(metric: str, first: Columns, second: Columns, classes: int) -> Paired:
    """Test whether two models differ in a metric, on the rows that both were tested on.

    The difference is taken to be normal. Its variance is the sum of squares of what each row adds to it: for ROC-AUC
    that of DeLong, DeLong and Clarke-Pearson (1988), for means of losses that of the paired t-test, for others
    the infinitesimal jackknife (Efron 1982), all with row weights.

    Parameters
    ----------
    metric : str
        One of `metrics_to_test`.
    first, second : mapping of str to ndarray
        ``key``, ``label``, ``weight``, ``score``, and for classes ``predicted``, as `scores.read_scores` gives them.
    classes : int
        How many there are; 0 for regression.

    Returns
    -------
    Paired

    Raises
    ------
    InputError
        When there are too few common rows, their labels differ, or the metric is not defined on them.
    """
    first, second = common_rows(first, second)
    rows = len(first["key"])
    measure = _MEASURES[metric]
    (value, adds), (other, others) = (measure(each, classes) for each in (first, second))
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    difference = sign * (other - value)
    error = math.sqrt(sum(_squares(part) for part in _groups(metric, first["label"], others - adds)))
    if not math.isfinite(difference) or not math.isfinite(error):
        raise InputError(f"{metric} is not defined on the {rows:,} common test rows")
    # Two models that say the same of every row differ by 0, and surely.
    p = math.erfc(abs(difference) / error / math.sqrt(2)) if error > 0 else float(difference == 0)
    return Paired(metric, rows, value, other, difference, difference - Z * error, difference + Z * error, p)


def common_rows(first: Columns, second: Columns) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Pick the rows that both models were tested on, in the same order.

    Raises
    ------
    InputError
        When there are fewer than `FEWEST_ROWS`, or the labels of one key differ: the data are then not the same.
    """
    shared, left, right = np.intersect1d(first["key"], second["key"], assume_unique=True, return_indices=True)
    if len(shared) < FEWEST_ROWS:
        raise InputError(
            f"have {len(shared)} test rows in common, and {FEWEST_ROWS} are needed",
            mend="train both on the same data with the same split and seed",
        )
    ours = {name: values[left] for name, values in first.items()}
    theirs = {name: values[right] for name, values in second.items()}
    if not np.array_equal(ours["label"], theirs["label"]):
        raise InputError(
            "were tested on rows with different labels", mend="train both on the same data and target"
        )
    theirs["weight"] = ours["weight"]  # one weight a row, or the pair would not be the same row
    weighs = ours["weight"] > 0
    ours, theirs = ({name: values[weighs] for name, values in each.items()} for each in (ours, theirs))
    return ours, theirs


def _squares(adds: NDArray[np.float64]) -> float:
    return float(np.sum(adds**2)) * len(adds) / (len(adds) - 1) if len(adds) > 1 else math.nan


def _groups(metric: str, label: NDArray[Any], adds: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Split what rows add by what was drawn independently: for ROC-AUC each class by itself."""
    return [adds[label == 1], adds[label == 0]] if metric == "roc_auc" else [adds]


def _mean(losses: NDArray[np.float64], weight: NDArray[np.float64]) -> Measured:
    total = weight.sum()
    mean = float((weight * losses).sum() / total)
    return mean, weight * (losses - mean) / total


def _log_loss(held: Columns, classes: int) -> Measured:
    said = held["score"]
    true = np.where(held["label"] == 1, said, 1.0 - said) if classes == 2 else said
    return _mean(-clipped_log(true), held["weight"])


def _brier(held: Columns, classes: int) -> Measured:
    del classes  # there are two
    return _mean((held["score"] - held["label"]) ** 2, held["weight"])


def _accuracy(held: Columns, classes: int) -> Measured:
    del classes  # any number
    return _mean((held["predicted"] == held["label"]).astype(np.float64), held["weight"])


def _mse(held: Columns, classes: int) -> Measured:
    del classes  # there are none
    return _mean((held["score"] - held["label"]) ** 2, held["weight"])


def _rmse(held: Columns, classes: int) -> Measured:
    mse, adds = _mse(held, classes)
    root = math.sqrt(mse)
    return root, adds / (2 * root) if root > 0 else adds


def _mae(held: Columns, classes: int) -> Measured:
    del classes  # there are none
    return _mean(np.abs(held["score"] - held["label"]), held["weight"])


def _r2(held: Columns, classes: int) -> Measured:
    del classes  # there are none
    y, weight = held["label"], held["weight"]
    around = (y - (weight * y).sum() / weight.sum()) ** 2
    missed = (held["score"] - y) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (weight * missed).sum() / (weight * around).sum()
        adds = -weight * (missed - share * around) / (weight * around).sum()
    return float(1 - share), adds


def _roc_auc(held: Columns, classes: int) -> Measured:
    del classes  # there are two
    positive, weight = held["label"] == 1, held["weight"]
    _, place = np.unique(held["score"], return_inverse=True)
    ones = np.bincount(place, weight * positive)
    zeros = np.bincount(place, weight * ~positive)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Share of the zeros below each score, and of the ones above it; ties count half.
        below = (np.cumsum(zeros) - zeros / 2) / zeros.sum()
        above = (ones.sum() - np.cumsum(ones) + ones / 2) / ones.sum()
        area = float((ones * below).sum() / ones.sum())
        placed = np.where(positive, below[place], above[place])
        return area, weight * (placed - area) / np.where(positive, ones.sum(), zeros.sum())


def _average_precision(held: Columns, classes: int) -> Measured:
    """Average precision as a function of the row weights, and its derivative by each."""
    del classes  # there are two
    positive, weight = held["label"] == 1, held["weight"]
    _, place = np.unique(-held["score"], return_inverse=True)  # the highest score first
    ones = np.bincount(place, weight * positive)
    taken, right = np.cumsum(np.bincount(place, weight)), np.cumsum(ones)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = right / taken
        value = float((ones * precision).sum() / ones.sum())
        # A row is in the precision at its own score and at every lower one.
        as_one = np.cumsum((ones * (1 - precision) / taken)[::-1])[::-1]
        as_zero = np.cumsum((ones * -precision / taken)[::-1])[::-1]
        change = np.where(positive, precision[place] - value + as_one[place], as_zero[place])
        return value, weight * change / ones.sum()


_MEASURES: Mapping[str, Callable[[Columns, int], Measured]] = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "brier": _brier,
    "accuracy": _accuracy,
    "mse": _mse,
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
}
