"""Losses of generalised linear models with their derivatives, and which scikit-learn estimators minimise them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]


class Loss(Protocol):
    """A convex loss of raw predictions; the same for every row."""

    def start(self, mean: float) -> float:
        """Intercept to begin with, when the target's mean is `mean`."""
        ...

    def slopes(self, raw: Numbers, y: NDArray[Any]) -> tuple[Numbers, Numbers, Numbers]:
        """Compute the loss of each row, its first and its second derivative by the raw prediction.

        Parameters
        ----------
        raw : ndarray, shape (rows, problems, outputs)
        y : ndarray, shape (rows,)
            Values, or codes of classes.

        Returns
        -------
        value : ndarray, shape (rows, problems)
        first : ndarray, as `raw`
        second : ndarray, as `raw`
            Of several outputs the probabilities, from which `Multinomial` says what the curvature is.
        """
        ...


def _logistic(raw: Numbers) -> Numbers:
    from scipy.special import expit

    return np.asarray(expit(raw))


@dataclass(frozen=True)
class Binary:
    """Logistic loss of two classes, :math:`log(1 + e^r) - y r`."""

    def start(self, mean: float) -> float:
        """Zero: both classes alike."""
        del mean
        return 0.0

    def slopes(self, raw: Numbers, y: NDArray[Any]) -> tuple[Numbers, Numbers, Numbers]:
        """As `Loss`."""
        p = _logistic(raw)
        truth = y[:, None, None]
        return (np.logaddexp(0.0, raw) - truth * raw)[..., 0], p - truth, p * (1 - p)


@dataclass(frozen=True)
class Multinomial:
    r"""Logistic loss of K classes, :math:`log \sum_k e^{r_k} - r_y`; curvature :math:`diag(p) - p p^T`."""

    def start(self, mean: float) -> float:
        """Zero: all classes alike."""
        del mean
        return 0.0

    def slopes(self, raw: Numbers, y: NDArray[Any]) -> tuple[Numbers, Numbers, Numbers]:
        """As `Loss`; `second` holds the probabilities."""
        top = raw.max(axis=2, keepdims=True)
        p = np.exp(raw - top)
        total = p.sum(axis=2, keepdims=True)
        p /= total
        rows, codes = np.arange(len(y)), y.astype(np.intp)
        value = (np.log(total) + top)[..., 0] - raw[rows, :, codes]
        first = p.copy()
        first[rows, :, codes] -= 1.0
        return value, first, p


@dataclass(frozen=True)
class Poisson:
    """Half the deviance of counts with a logarithmic link, up to a constant: :math:`e^r - y r`."""

    def start(self, mean: float) -> float:
        """Return the link of the mean."""
        return float(np.log(mean)) if mean > 0 else 0.0

    def slopes(self, raw: Numbers, y: NDArray[Any]) -> tuple[Numbers, Numbers, Numbers]:
        """As `Loss`."""
        mean, truth = np.exp(raw), y[:, None, None]
        return (mean - truth * raw)[..., 0], mean - truth, mean


@dataclass(frozen=True)
class Gamma:
    """Half the deviance of positive values with a logarithmic link, up to a constant: :math:`r + y e^{-r}`."""

    def start(self, mean: float) -> float:
        """Return the link of the mean."""
        return float(np.log(mean)) if mean > 0 else 0.0

    def slopes(self, raw: Numbers, y: NDArray[Any]) -> tuple[Numbers, Numbers, Numbers]:
        """As `Loss`."""
        ratio = y[:, None, None] * np.exp(-raw)
        return (raw + ratio)[..., 0], 1 - ratio, ratio


@dataclass(frozen=True)
class Quantile:
    r"""The pinball loss, smoothed over a bandwidth h by a logistic kernel: :math:`\tau (y - r) + h\,log(1 + e^{(r - y)/h})`.

    Its bias falls as h squared (Fernandes, Guerre and Horta 2021; He et al. 2023).
    """

    quantile: float
    bandwidth: float = 1.0

    def start(self, mean: float) -> float:
        """Return the mean."""
        return mean

    def slopes(self, raw: Numbers, y: NDArray[Any]) -> tuple[Numbers, Numbers, Numbers]:
        """As `Loss`."""
        above = (raw - y[:, None, None]) / self.bandwidth
        share = _logistic(above)
        value = self.bandwidth * (np.logaddexp(0.0, above) - self.quantile * above)
        return value[..., 0], share - self.quantile, share * (1 - share) / self.bandwidth


@dataclass(frozen=True)
class Scores:
    """Another loss of one raw prediction with the squares of its first derivatives as second ones: how its scores scatter."""

    loss: Loss

    def start(self, mean: float) -> float:
        """As the loss itself."""
        return self.loss.start(mean)

    def slopes(self, raw: Numbers, y: NDArray[Any]) -> tuple[Numbers, Numbers, Numbers]:
        """As `Loss`."""
        value, first, _ = self.loss.slopes(raw, y)
        return value, first, first**2


FINEST = 1e-3
"""Least bandwidth of quantiles, in standard deviations of the target."""
STAGES = 4
"""Bandwidths of quantiles, each a quarter of the one before: the last is that of the result."""


def bandwidth(rows: float, width: int, spread: float) -> float:
    """Bandwidth for quantiles: a quarter of the rule of He et al. (2023), (width + log rows) / rows to the power 2/5."""
    share = ((width + np.log(max(rows, 2.0))) / max(rows, 2.0)) ** 0.4 / 4
    return float(max(FINEST, min(share, 1.0)) * spread) or 1.0


def stages_of(loss: Loss, rows: float, width: int, spread: float) -> tuple[Loss, ...]:
    """Return the losses that are minimised one after the other, each from where the one before ended."""
    if not isinstance(loss, Quantile):
        return (loss,)
    last = bandwidth(rows, width, spread)
    return tuple(replace(loss, bandwidth=last * 4.0 ** (STAGES - 1 - stage)) for stage in range(STAGES))


@dataclass(frozen=True)
class Model:
    """What a scikit-learn estimator minimises: the mean loss, and a penalty of half the squared coefficients."""

    task: str
    loss: Callable[[Any, int], Loss]
    """``loss(estimator, classes)``."""
    penalty: Callable[[Any], tuple[float, bool]]
    """Strength of an estimator's penalty, and whether it stands beside the sum of the losses and not their mean."""
    path: tuple[str, ...]
    """Parameters of which a list means one candidate each."""
    refused: Callable[[Any], str]
    """Says which parameter it cannot follow; empty when none."""
    scatters: bool = False
    """Whether how certain its coefficients are takes a pass of its own, over the scores of the rows."""


def _inverse_penalty(estimator: Any) -> tuple[float, bool]:
    return (0.0 if estimator.penalty is None else 1.0 / float(estimator.C)), True


def _refuse_logistic(estimator: Any) -> str:
    if estimator.penalty in {"l1", "elasticnet"} or estimator.l1_ratio:
        return "an l1 penalty is not smooth; take SGDClassifier with penalty: elasticnet"
    if estimator.class_weight is not None:
        return "weights of classes belong in train.class_weight"
    return ""


def _refuse_quantile(estimator: Any) -> str:
    return "" if estimator.alpha == 0 else "its penalty is not smooth; give alpha: 0"


MODELS: dict[str, Model] = {
    "sklearn.linear_model.LogisticRegression": Model(
        "classification",
        lambda _estimator, classes: Binary() if classes == 2 else Multinomial(),
        _inverse_penalty,
        ("C",),
        _refuse_logistic,
    ),
    "sklearn.linear_model.PoissonRegressor": Model(
        "regression", lambda *_: Poisson(), lambda e: (float(e.alpha), False), ("alpha",), lambda _: ""
    ),
    "sklearn.linear_model.GammaRegressor": Model(
        "regression",
        lambda *_: Gamma(),
        lambda e: (float(e.alpha), False),
        ("alpha",),
        lambda _: "",
        scatters=True,
    ),
    "sklearn.linear_model.QuantileRegressor": Model(
        "regression",
        lambda e, _: Quantile(float(e.quantile)),
        lambda _: (0.0, False),
        ("quantile",),
        _refuse_quantile,
        scatters=True,
    ),
}
"""By import path."""


def told(
    estimator: Any, coefficients: Numbers, intercept: Numbers, classes: NDArray[Any], passes: int
) -> Any:
    """Fit an estimator to two rows of zeros for the sake of its types, then tell it what was found.

    Parameters
    ----------
    estimator : estimator
        Unfitted.
    coefficients : ndarray, shape (features, outputs)
    intercept : ndarray, shape (outputs,)
    classes : ndarray
        Labels; empty for regression.
    passes : int
        Reported as its iterations.
    """
    rows = max(2, len(classes))
    witness = np.zeros((rows, len(coefficients)))
    y = classes if len(classes) else np.array([1.0, 1.0])
    estimator.fit(witness, y)
    if len(classes):
        estimator.coef_, estimator.intercept_ = np.ascontiguousarray(coefficients.T), intercept.copy()
        estimator.n_iter_ = np.array([passes], dtype=np.int32)
    else:
        estimator.coef_, estimator.intercept_ = coefficients[:, 0].copy(), float(intercept[0])
        if hasattr(estimator, "n_iter_"):
            estimator.n_iter_ = passes
    return estimator
