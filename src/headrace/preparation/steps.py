"""The steps of recipes as fitted scikit-learn transformers: public attributes set to what was learnt, nothing fitted on data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.preparation.arithmetic import build_arithmetic
from headrace.preparation.encoders import ENCODERS
from headrace.preparation.reducers import REDUCERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pandas import DataFrame
    from sklearn.pipeline import Pipeline

    from headrace.preparation.recipes import RecipePlan

    Learnt = Mapping[str, Any]


def build_recipe(plan: RecipePlan) -> Pipeline:
    """Build the fitted pipeline of a recipe.

    Each transformer is fitted on a few rows of any values, for the sake of its names and types, and then told what the profile knows.
    """
    from sklearn.pipeline import Pipeline

    X: Any = _witness(plan)
    steps = []
    for number, step in enumerate(plan.steps):
        transformer = BUILDERS[step.sort](step.learnt, X)
        steps.append((step.sort if number == 0 else f"{step.sort}_{number}", transformer))
        with np.errstate(all="ignore"):  # the few rows are no data: what is divided by 0 there says nothing
            X = transformer.transform(X)
    return Pipeline(steps)


def example(plan: RecipePlan, rows: int) -> Any:
    """Return a column of any values, of the kind of a recipe."""
    import pandas as pd

    if plan.kind == "string":
        return pd.Series([""] * rows, dtype=object)
    return np.zeros(rows, dtype="datetime64[us]" if plan.kind == "datetime" else float)


def _witness(plan: RecipePlan) -> DataFrame:
    import pandas as pd

    return pd.DataFrame({name: example(plan, 2) for name in plan.columns})


def _standard(mean: Sequence[float], scale: Sequence[float], X: Any) -> Any:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(X)
    scaler.mean_, scaler.scale_ = np.array(mean, dtype=float), np.array(scale, dtype=float)
    scaler.var_, scaler.n_samples_seen_ = scaler.scale_**2, np.int64(2)
    return scaler


def _numbers(_learnt: Learnt, X: Any) -> Any:
    """Turn any numeric frame into floats."""
    from sklearn.preprocessing import StandardScaler

    return StandardScaler(with_mean=False, with_std=False).fit(X)


def _fill(learnt: Learnt, X: Any) -> Any:
    from sklearn.impute import SimpleImputer

    imputer = SimpleImputer().fit(X)
    imputer.statistics_ = np.array(learnt["values"], dtype=float)
    return imputer


def _fill_by_regression(learnt: Learnt, X: Any) -> Any:
    r"""Fill with conditional means: the rounds of an `IterativeImputer` whose regressions follow from the covariance.

    With K the inverse covariance, the regression of column j on all others has the coefficients :math:`-K_{ji} / K_{jj}`. Repeating the
    regressions over the missing columns is Gauss-Seidel on :math:`K_{MM} (x_M - \mu_M) = -K_{MO} (x_O - \mu_O)`, whose solution is the
    conditional mean of a normal distribution (Little and Rubin, Statistical Analysis with Missing Data, section 11.2), whatever is missing.
    """
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - imported for its effect
    from sklearn.impute import IterativeImputer
    from sklearn.linear_model import LinearRegression

    mean, slopes = np.array(learnt["mean"]), np.array(learnt["slopes"])
    d = len(mean)
    shown = np.tile(np.arange(d + 2.0)[:, None], (1, d))
    shown[np.arange(d), np.arange(d)] = np.nan
    # A tolerance of 0 is never reached: every round is held, and all are gone through.
    imputer = IterativeImputer(
        LinearRegression(), max_iter=learnt["rounds"], tol=0.0, imputation_order="ascending"
    )
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged on these few rows, which are no data
        imputer.fit(type(X)(shown, columns=X.columns))
    imputer.initial_imputer_.statistics_ = mean
    regressions = {}
    for triplet in imputer.imputation_sequence_[:d]:
        j, others = triplet.feat_idx, triplet.neighbor_feat_idx
        regressions[int(j)] = triplet.estimator
        triplet.estimator.coef_ = slopes[j, others]
        triplet.estimator.intercept_ = mean[j] - slopes[j, others] @ mean[others]
    imputer.imputation_sequence_ = [
        triplet._replace(estimator=regressions[int(triplet.feat_idx)])
        for triplet in imputer.imputation_sequence_
    ]
    return imputer


def _clip(learnt: Learnt, X: Any) -> Any:
    """Bound every column to [low, high]; None is no bound."""
    from sklearn.preprocessing import FunctionTransformer

    bounds = {"a_min": learnt["low"], "a_max": learnt["high"]}
    return FunctionTransformer(np.clip, kw_args=bounds, feature_names_out="one-to-one").fit(X)


def _function(function: Callable[..., Any]) -> Callable[[Learnt, Any], Any]:
    def build(_learnt: Learnt, X: Any) -> Any:
        from sklearn.preprocessing import FunctionTransformer

        return FunctionTransformer(function, feature_names_out="one-to-one").fit(X)

    return build


def _power(learnt: Learnt, X: Any) -> Any:
    from sklearn.preprocessing import PowerTransformer

    ones = np.tile(np.arange(1.0, 5.0)[:, None], (1, X.shape[1]))
    power = PowerTransformer(method=learnt["method"], standardize=False).fit(ones)
    power.lambdas_ = np.array(learnt["lambdas"])
    return power


def _quantile(learnt: Learnt, X: Any) -> Any:
    from sklearn.preprocessing import QuantileTransformer

    quantiles = np.array(learnt["quantiles"])
    count = len(quantiles)
    transformer = QuantileTransformer(n_quantiles=2, output_distribution=learnt["to"], subsample=None)
    transformer.fit(np.tile(np.arange(2.0)[:, None], (1, X.shape[1])))
    transformer.n_quantiles = count
    transformer.n_quantiles_ = count
    transformer.references_ = np.linspace(0, 1, count)
    transformer.quantiles_ = quantiles[:, None]
    return transformer


def _scale(learnt: Learnt, X: Any) -> Any:
    return _standard(learnt["center"], learnt["spread"], X)


def _bins(learnt: Learnt, _X: Any) -> Any:
    from sklearn.preprocessing import KBinsDiscretizer

    edges = np.array(learnt["edges"])
    # Quantiles at even shares of as many points are the points themselves.
    discretizer = KBinsDiscretizer(
        n_bins=len(edges) - 1,
        encode=learnt["encode"],
        strategy="quantile",
        quantile_method="linear",
        subsample=None,
    ).fit(edges[:, None])
    discretizer.bin_edges_[0] = edges
    return discretizer


def _spline(learnt: Learnt, X: Any) -> Any:
    from sklearn.preprocessing import SplineTransformer

    knots = np.array(learnt["knots"])[:, None]
    return SplineTransformer(
        degree=learnt["degree"], knots=knots, extrapolation=learnt["outside"], include_bias=False
    ).fit(np.asarray(X))


def _polynomial(learnt: Learnt, X: Any) -> Any:
    from sklearn.preprocessing import PolynomialFeatures

    return PolynomialFeatures(
        tuple(learnt["degree"]), interaction_only=learnt["interaction_only"], include_bias=False
    ).fit(X)


def _outside(learnt: Learnt, X: Any) -> Any:
    """Flag what is more than 1 from 0, under a name of its own."""
    from sklearn.pipeline import FeatureUnion, Pipeline
    from sklearn.preprocessing import Binarizer, FunctionTransformer

    distance = FunctionTransformer(np.abs, feature_names_out="one-to-one")
    flag = Pipeline([("distance", distance), ("flag", Binarizer(threshold=1.0 + learnt["slack"]))])
    return FeatureUnion([("outlier", flag)]).fit(X)


def _sin_cos(_learnt: Learnt, X: Any) -> Any:
    from sklearn.pipeline import FeatureUnion
    from sklearn.preprocessing import FunctionTransformer

    return FeatureUnion(
        [
            (name, FunctionTransformer(function, feature_names_out="one-to-one"))
            for name, function in (("sin", np.sin), ("cos", np.cos))
        ]
    ).fit(X)


def _parts(learnt: Learnt, X: Any) -> Any:
    from headrace.preparation.datetimes import DatetimeParts

    return DatetimeParts(parts=list(learnt["parts"])).fit(X)


def _missing(_learnt: Learnt, X: Any) -> Any:
    from sklearn.impute import MissingIndicator

    return MissingIndicator(features="all").fit(X)


BUILDERS: dict[str, Callable[[Learnt, Any], Any]] = {
    "derive": build_arithmetic,
    "numbers": _numbers,
    "fill": _fill,
    "fill_by_regression": _fill_by_regression,
    "missing": _missing,
    "clip": _clip,
    "sqrt": _function(np.sqrt),
    "log1p": _function(np.log1p),
    "power": _power,
    "quantile": _quantile,
    "scale": _scale,
    "bins": _bins,
    "spline": _spline,
    "polynomial": _polynomial,
    "outlier_flag": _outside,
    "sin_cos": _sin_cos,
    "parts": _parts,
    **ENCODERS,
    **REDUCERS,
}
"""How each sort of step becomes a fitted transformer, from what it has learnt and the few rows that the one before gives."""
