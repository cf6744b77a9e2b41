"""Numbers whose preparation is more than fill, clip and scale: curves, bins, splines, powers, flags, learnt from the profile alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import DataError
from headrace.preparation.distribution import Distribution
from headrace.preparation.numeric import fit_numeric
from headrace.preparation.options import Bins, Splines
from headrace.preparation.recipes import RecipePlan, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.preparation.options import NumericOptions
    from headrace.preparation.plans import NumericPlan
    from headrace.profiling.profile import ColumnProfile

QUANTILES = 1000
"""Points of a quantile transformation."""
_LEAST = {"sqrt": 0.0, "log1p": 0.0}
_EPS = float(np.finfo(np.float64).eps)


def is_plain(options: NumericOptions) -> bool:
    """Tell whether a number is one that the compiled path prepares."""
    return options.transform == "none" and options.expand is None


def fit_curve(column: ColumnProfile, options: NumericOptions) -> tuple[RecipePlan, ...]:
    r"""Learn a number that is transformed or expanded: one recipe, and one for its indicator.

    - ``sqrt``, ``log1p``: of values from 0 on; lower ones that appear later are held to 0.
    - ``box_cox``, ``yeo_johnson``: lambda maximises the likelihood
      :math:`-\frac{n}{2} \log \hat\sigma^2(\lambda) + \sum \log |\partial \psi_\lambda / \partial x|` (Box and Cox 1964; Yeo and Johnson 2000)
      over the values with their counts, or over 8192 quantiles of the sketch.
    - ``quantile_normal``, ``quantile_uniform``: 1000 quantiles, mapped to those of the distribution, as `QuantileTransformer`.
    - bins and knots lie at even shares of the filled rows.

    Exact for up to 10,000 distinct values; beyond, each quantile is within the rank error of the sketch + 1/16384.

    Parameters
    ----------
    column : ColumnProfile
        Numeric or boolean, with a finite value.
    options : NumericOptions

    Raises
    ------
    DataError
        When a value is outside of what the curve takes.
    """
    plan = fit_numeric(column, options.model_copy(update={"scale": "none"}))
    summary = column.overall
    moments = summary.moments
    assert moments is not None
    low, high = plan.low, plan.high
    least = _least(column, options.transform, moments.minimum)
    if least is not None:
        low = least if low is None else max(low, least)
    values = Distribution.of(summary)
    ends = (-math.inf if low is None else low, math.inf if high is None else high)
    values = values.clipped(*ends)
    if plan.fill is not None:
        values = values.filled(float(np.clip(plan.fill, *ends)), summary.missing)
    steps = [_filling(plan)]
    if low is not None or high is not None:
        steps.append(Step("clip", {"low": low, "high": high}, f"bounds {_told(low)} to {_told(high)}"))
    if options.transform != "none":
        step, curve = _curve(options.transform, values)
        steps.append(step)
        values = values.mapped(curve)
    expand = options.expand
    if not isinstance(expand, Bins | Splines) and options.scale != "none":
        steps.append(_scaling(options.scale, values))
    if expand is not None:
        steps += _expansion(expand, values)
    recipe = named(RecipePlan(column.name, column.kind, (column.name,), tuple(steps), (), 1))
    if options.indicator and summary.missing:
        return recipe, fit_indicator(column.name, column.kind)
    return (recipe,)


def fit_indicator(name: str, kind: str) -> RecipePlan:
    """Make the 0/1 feature that says where a number was missing."""
    steps = (Step("numbers"), Step("missing", {}, "indicator"))
    return named(RecipePlan(f"missing {name}", kind, (name,), steps, (), 1))


def fit_outlier_flag(plan: NumericPlan) -> RecipePlan | None:
    """Make the 0/1 feature that says where a number lies outside of its bounds; None when it has none."""
    if plan.low is None or plan.high is None:
        return None
    middle, half = plan.low / 2 + plan.high / 2, plan.high / 2 - plan.low / 2
    steps = (
        Step("fill", {"values": [middle]}),
        Step("scale", {"center": [middle], "spread": [half]}),
        # The bounds themselves are inside, whatever the rounding of the division.
        Step(
            "outlier_flag",
            {"slack": 4 * _EPS * (1 + abs(middle) / half)},
            f"outside {plan.low:.6g} to {plan.high:.6g}",
        ),
    )
    return named(RecipePlan(f"outlier {plan.name}", plan.kind, (plan.name,), steps, (), 1))


def named(plan: RecipePlan) -> RecipePlan:
    """Return a recipe with the names that its transformers give their features."""
    from headrace.preparation.steps import build_recipe

    names = tuple(str(name) for name in build_recipe(plan).get_feature_names_out(list(plan.columns)))
    one = any(step.sort == "bins" and step.learnt["encode"] == "onehot" for step in plan.steps)
    return RecipePlan(
        plan.name, plan.kind, plan.columns, plan.steps, names, 1 if one else len(names), sparse=one
    )


def _least(column: ColumnProfile, transform: str, minimum: float) -> float | None:
    least = _LEAST.get(transform)
    if (least is not None and minimum < least) or (transform == "box_cox" and minimum <= 0):
        raise DataError(
            f"{transform} takes numbers from 0 on, and the smallest is {minimum:.6g}"
            if transform != "box_cox"
            else f"box_cox takes numbers above 0, and the smallest is {minimum:.6g}",
            where=f"column {column.name!r}",
            mend="use transform: yeo_johnson",
        )
    return float(minimum) if transform == "box_cox" else least


def _filling(plan: NumericPlan) -> Step:
    if plan.fill is None:
        return Step("numbers")
    return Step(
        "fill", {"values": [plan.fill]}, f"missing: {plan.fill:.6g} ({plan.impute.replace('_', ' ')})"
    )


def _curve(transform: str, values: Distribution) -> tuple[Step, Callable[[NDArray[np.float64]], Any]]:
    if transform == "sqrt":
        return Step("sqrt", {}, "square root"), np.sqrt
    if transform == "log1p":
        return Step("log1p", {}, "log(1 + x)"), np.log1p
    source = "" if values.exact else ", of 8192 points of the sketch"
    if transform in {"box_cox", "yeo_johnson"}:
        power = box_cox if transform == "box_cox" else yeo_johnson
        best = likeliest_lambda(values, transform)
        learnt = {"method": transform.replace("_", "-"), "lambdas": [best]}
        return Step("power", learnt, f"{transform} with lambda {best:.4g}{source}"), lambda x: power(x, best)
    count = max(2, min(QUANTILES, round(float(values.weights.sum()))))
    points = np.maximum.accumulate(values.quantile(np.linspace(0, 1, count)))
    to = "normal" if transform == "quantile_normal" else "uniform"
    step = Step("quantile", {"quantiles": points.tolist(), "to": to}, f"{count} quantiles to {to}{source}")
    from headrace.preparation.steps import BUILDERS

    transformer = BUILDERS["quantile"](step.learnt, np.zeros((2, 1)))
    return step, lambda x: transformer.transform(x[:, None])[:, 0]


def box_cox(x: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Box and Cox's (1964) curve, as `scipy.special.boxcox`."""
    from scipy.special import boxcox

    return np.asarray(boxcox(x, power))


def yeo_johnson(x: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Yeo and Johnson's (2000) curve: Box-Cox of 1 + x, mirrored below 0 with 2 - lambda.

    Examples
    --------
    >>> yeo_johnson(np.array([-1.0, 0.0, 3.0]), 1.0).tolist()
    [-1.0, 0.0, 3.0]
    """
    from scipy.special import boxcox1p

    below = -boxcox1p(np.maximum(-x, 0), 2 - power)
    return np.asarray(np.where(x >= 0, boxcox1p(np.maximum(x, 0), power), below))


def likeliest_lambda(values: Distribution, transform: str) -> float:
    """Return the lambda of the largest likelihood, between -10 and 10; 1 for what does not vary."""
    from scipy.optimize import minimize_scalar

    x, weight = values.values, values.weights
    if not x[-1] > x[0]:
        return 1.0
    curve = box_cox if transform == "box_cox" else yeo_johnson
    logs = np.log(x) if transform == "box_cox" else np.sign(x) * np.log1p(np.abs(x))
    jacobian = float(np.average(logs, weights=weight))

    def loss(power: float) -> float:
        with np.errstate(all="ignore"):
            z = curve(x, power)
            variance = float(np.average((z - np.average(z, weights=weight)) ** 2, weights=weight))
            worth = 0.5 * math.log(variance) - (power - 1) * jacobian if variance > 0 else math.inf
        return worth if math.isfinite(worth) else 1e300

    found = minimize_scalar(loss, bounds=(-10, 10), method="bounded", options={"xatol": 1e-10})
    return float(found.x)


def _scaling(scale: str, values: Distribution) -> Step:
    if scale == "standard":
        center, spread = values.mean, values.std()
    elif scale == "minmax":
        center, spread = float(values.values[0]), float(values.values[-1] - values.values[0])
    elif scale == "maxabs":
        center, spread = 0.0, float(np.abs(values.values[[0, -1]]).max())
    else:
        first, center, third = values.quantile((0.25, 0.5, 0.75)).tolist()
        spread = third - first
    spread = spread if spread > 10 * _EPS * max(abs(center), 1e-300) else 1.0
    return Step(
        "scale", {"center": [center], "spread": [spread]}, f"scale ({scale}): {center:.6g}, {spread:.6g}"
    )


def _expansion(expand: Any, values: Distribution) -> list[Step]:
    if isinstance(expand, Bins):
        edges = _apart(values, expand.bins + 1)
        if len(edges) < 3:
            return []
        encode = "onehot" if expand.encode == "one_hot" else "ordinal"
        return [Step("bins", {"edges": edges, "encode": encode}, f"{len(edges) - 1} bins")]
    if isinstance(expand, Splines):
        knots = _apart(values, expand.knots)
        if len(knots) < 2:
            return []
        learnt = {"knots": knots, "degree": expand.degree, "outside": expand.outside}
        return [Step("spline", learnt, f"{len(knots)} knots, degree {expand.degree}")]
    learnt = {"degree": [1, expand.degree], "interaction_only": False}
    return [Step("polynomial", learnt, f"powers to {expand.degree}")]


def _apart(values: Distribution, count: int) -> list[float]:
    """Quantiles at even shares from end to end, each once."""
    points = np.unique(values.quantile(np.linspace(0, 1, count)))
    # Bins narrower than 1e-8 are none to scikit-learn either.
    return [float(p) for i, p in enumerate(points) if i == 0 or p - points[i - 1] > 1e-8]


def _told(bound: float | None) -> str:
    return "any" if bound is None else f"{bound:.6g}"
