"""Numbers: what fills, clips and scales a column, from its profile alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import DataError
from headrace.preparation.distribution import Distribution
from headrace.preparation.options import IqrClip, QuantileClip, ZscoreClip
from headrace.preparation.plans import NumericPlan

if TYPE_CHECKING:
    from headrace.accumulators.moments import Moments
    from headrace.preparation.options import NumericOptions
    from headrace.profiling.profile import ColumnProfile

FAR = 5.0
"""Distances between the 1 % and 99 % quantiles beyond them, from which an extreme makes a tail a heavy one."""
KEPT = 1.0
"""The same distances, at which a heavy tail is cut."""
_EPS = float(np.finfo(np.float64).eps)


def fit_numeric(column: ColumnProfile, options: NumericOptions) -> NumericPlan:
    r"""Learn one number.

    With n values of mean :math:`\mu` and sum of squared deviations :math:`M_2`, and m missing ones filled with f,

    .. math:: \mu' = \frac{n \mu + m f}{n + m}, \qquad M_2' = M_2 + (\mu - f)^2 \frac{n m}{n + m}

    (Chan, Golub and LeVeque 1983): exactly what `StandardScaler` would find after `SimpleImputer`. Clipped columns, medians
    and quartiles are exact for up to 10,000 distinct values; beyond see `Distribution`.

    Parameters
    ----------
    column : ColumnProfile
        Numeric or boolean, with a finite value.
    options : NumericOptions

    Raises
    ------
    DataError
        When the column holds infinities, which scikit-learn refuses.
    """
    summary = column.overall
    if summary.pos_infs or summary.neg_infs:
        raise DataError(
            f"{summary.pos_infs + summary.neg_infs} values are infinite",
            where=f"column {column.name!r}",
            mend="drop the column (prepare.columns), or replace them in a features function",
        )
    moments = summary.moments
    assert moments is not None
    missing = summary.missing if options.impute != "none" else 0
    values = Distribution.of(summary)
    bounds = _bounds(column, moments, values, options)
    low, high = bounds or (-math.inf, math.inf)
    if bounds:
        removed = options.outliers == "remove"
        values = values.within(low, high) if removed else values.clipped(low, high)
    fill = _fill(options, values, moments.mean if bounds is None else values.mean)
    inner = 0.0 if fill is None else min(max(fill, low), high)
    if options.scale == "none":
        center, spread = 0.0, 1.0
    elif options.scale == "standard" and bounds is None:
        center, spread = filled_moments(moments, inner, missing)
        if not math.isfinite(spread):
            spread = values.filled(inner, missing).std()
    elif options.scale == "standard":
        filled = values.filled(inner, missing)
        center, spread = inner if options.impute == "mean" else filled.mean, filled.std()
    elif options.scale == "minmax":
        ends = [min(max(end, low), high) for end in (moments.minimum, moments.maximum)]
        ends += [inner] if missing else []
        center, spread = float(min(ends)), float(max(ends)) - float(min(ends))
    elif options.scale == "maxabs":
        ends = [min(max(end, low), high) for end in (moments.minimum, moments.maximum)]
        center, spread = 0.0, float(max(map(abs, [*ends, inner] if missing else ends)))
    else:
        first, center, third = values.filled(inner, missing).quantile((0.25, 0.5, 0.75)).tolist()
        spread = third - first
    return NumericPlan(
        name=column.name,
        kind=column.kind,
        impute=options.impute,
        fill=fill,
        indicator=options.indicator and summary.missing > 0,
        low=None if bounds is None else low,
        high=None if bounds is None else high,
        scale=options.scale,
        center=center,
        spread=spread if _is_spread(spread, center, options.scale) else 1.0,
        rows=moments.n + missing,
    )


def _is_spread(spread: float, center: float, scale: str) -> bool:
    """Tell a spread from the rounding of a constant, for which scikit-learn divides by 1."""
    return spread > 10 * _EPS * (abs(center) if scale == "standard" else 1.0)


def filled_moments(moments: Moments, fill: float, missing: int) -> tuple[float, float]:
    """Mean and population standard deviation of a column whose missing values are filled; see `fit_numeric`."""
    n = moments.n + missing
    # As a step from the mean: exactly the mean when that is what fills.
    mean = moments.mean + (fill - moments.mean) * (missing / n)
    m2 = moments.m2 + (moments.mean - fill) ** 2 * (moments.n / n) * missing
    return mean, math.sqrt(m2 / n)


def _bounds(
    column: ColumnProfile, moments: Moments, values: Distribution, options: NumericOptions
) -> tuple[float, float] | None:
    clip = options.clip
    if clip is None or column.kind == "boolean":
        return None
    if clip == "auto":
        return heavy_tail_bounds(column, moments)
    if isinstance(clip, QuantileClip):
        low, high = _quantiles(column, values, (clip.low, clip.high))
    elif isinstance(clip, IqrClip):
        first, third = _quantiles(column, values, (0.25, 0.75))
        low, high = first - clip.factor * (third - first), third + clip.factor * (third - first)
    else:
        assert isinstance(clip, ZscoreClip)
        low, high = moments.mean - clip.limit * moments.std, moments.mean + clip.limit * moments.std
    # Equal bounds would make a constant of a column whose values are mostly one and the same.
    return (low, high) if high - low >= 10 * _EPS and math.isfinite(high - low) else None


def heavy_tail_bounds(column: ColumnProfile, moments: Moments) -> tuple[float, float] | None:
    """Return bounds for a column with an extreme far outside, else None.

    With d the distance between the 1 % and the 99 % quantile: when an extreme lies more than 5 d outside of them, values
    are held to 1 d outside. Normal, uniform and exponential columns of any length we can read stay as they are; of a heavy tail at
    most 2 % of the rows change.
    """
    low, high = _quantiles(column, Distribution.of(column.overall), (0.01, 0.99))
    d = high - low
    if d < 10 * _EPS or not math.isfinite(d):
        return None
    if moments.minimum >= low - FAR * d and moments.maximum <= high + FAR * d:
        return None
    return low - KEPT * d, high + KEPT * d


def _quantiles(
    column: ColumnProfile, values: Distribution, shares: tuple[float, float]
) -> tuple[float, float]:
    found = values.quantile(shares) if values.exact else column.quantile(np.asarray(shares))
    return float(found[0]), float(found[1])


def _fill(options: NumericOptions, values: Distribution, mean: float) -> float | None:
    if options.impute == "none":
        return None
    if options.impute == "constant":
        return float(options.fill_value)
    if options.impute == "mean":
        return mean
    return values.most_frequent() if options.impute == "most_frequent" else float(values.quantile(0.5))
