"""Plain scikit-learn transformers, fitted on a few rows that bear witness to the profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.preparation.plans import MISSING_WORD, UNSEEN_CODE, CategoryPlan, NumericPlan
from headrace.preparation.recipes import RecipePlan
from headrace.preparation.steps import build_recipe, example

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pandas import DataFrame
    from sklearn.compose import ColumnTransformer

    from headrace.preparation.layout import Group, Layout
    from headrace.preparation.plans import ColumnPlan


def fit_transformer(
    layout: Layout, plans: Sequence[ColumnPlan], *, dense: bool | None = None
) -> ColumnTransformer:
    """Fit scikit-learn's transformers so that they hold what the profile has learnt.

    Categories are learnt by the encoders themselves, from a frame in which each frequent category stands twice and each rare one
    once (hence ``min_frequency=2``, whatever the workflow says); statistics are then set as public attributes.

    Parameters
    ----------
    layout : Layout
        Of the same plans.
    plans : sequence of ColumnPlan
        In the order of the columns.
    dense : bool, optional
        Give dense matrices whatever the layout says, for estimators that take no sparse ones.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.frozen import FrozenEstimator

    sparse = layout.sparse and not dense
    steps = [
        (group.name, _steps(group, sparse=sparse), [plan.name for plan in group.plans])
        for group in layout.groups
    ]
    # What is built fitted is to be fitted no more: it is frozen for this moment.
    steps += [
        (name, FrozenEstimator(build_recipe(plan)), list(plan.columns))
        for (name, _), plan in zip(layout.steps[len(layout.groups) :], layout.recipes, strict=True)
    ]
    transformer = ColumnTransformer(
        steps,
        sparse_threshold=1.0 if sparse else 0.0,
        verbose_feature_names_out=layout.prefixed,
    )
    with np.errstate(all="ignore"):  # a derived column may divide by what stands there
        transformer.fit(_witness(plans))
    for group in layout.groups:
        _teach(group, transformer.named_transformers_[group.name])
    for key in ("transformers", "transformers_"):
        thawed = [
            (name, step.estimator if isinstance(step, FrozenEstimator) else step, columns)
            for name, step, columns in getattr(transformer, key)
        ]
        setattr(transformer, key, thawed)
    return transformer


def _steps(group: Group, *, sparse: bool) -> Any:
    from sklearn.impute import MissingIndicator
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    plan = group.plans[0]
    steps: list[tuple[str, Any]]
    if group.sort == "numbers":
        steps = _number_steps(plan)
    elif group.sort == "missing":
        steps = [("numbers", _identity()), ("indicate", MissingIndicator(features="all"))]
    elif group.sort == "ordinal":
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=UNSEEN_CODE, min_frequency=2)
        steps = [*_fill_categories(plan), ("encode", codes)]
    elif group.sort == "one_hot":
        encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2, sparse_output=sparse)
        steps = [*_fill_categories(plan), ("encode", encoder)]
    else:
        steps = _time_steps(group, sparse=sparse)
    return Pipeline(steps)


def _identity() -> Any:
    """Return what turns any numeric frame into floats: booleans, nullable and Arrow-backed columns."""
    from sklearn.preprocessing import StandardScaler

    return StandardScaler(with_mean=False, with_std=False)


def _number_steps(plan: NumericPlan) -> list[tuple[str, Any]]:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    steps: list[tuple[str, Any]] = []
    if plan.impute in {"most_frequent", "constant"}:
        steps.append(("numbers", _identity()))
    if plan.fill is not None:
        fill_value = plan.fill if plan.impute == "constant" else None
        steps.append(("fill", SimpleImputer(strategy=plan.impute, fill_value=fill_value)))
    if plan.low is not None:
        # scikit-learn clips only what it has mapped to a fixed range: bounds become -1 and 1, and what follows is scaled likewise.
        steps += [("bound", StandardScaler()), ("clip", MinMaxScaler(feature_range=(-1, 1), clip=True))]
    if plan.scale == "maxabs" and plan.low is not None:
        steps.append(("scale", StandardScaler()))  # what is bounded around its middle is also moved back
    elif plan.scale != "none":
        scalers = {
            "standard": StandardScaler,
            "minmax": MinMaxScaler,
            "robust": RobustScaler,
            "maxabs": MaxAbsScaler,
        }
        steps.append(("scale", scalers[plan.scale]()))
    elif plan.low is not None:
        steps.append(("scale", StandardScaler()))  # back to the units of the column
    return steps or [("numbers", _identity())]


def _fill_categories(plan: CategoryPlan) -> list[tuple[str, Any]]:
    from sklearn.impute import SimpleImputer

    if plan.numbers:
        fill = [("fill", SimpleImputer(strategy="most_frequent"))] if plan.fill is not None else []
        return [("numbers", _identity()), *fill]
    how = (
        {"strategy": "most_frequent"}
        if plan.missing == "most_frequent"
        else {"strategy": "constant", "fill_value": MISSING_WORD}
    )
    # Frames hold missing strings as NaN or as None.
    return [("fill", SimpleImputer(**how)), ("fill_none", SimpleImputer(missing_values=None, **how))]


def _time_steps(group: Group, *, sparse: bool) -> list[tuple[str, Any]]:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from headrace.preparation.datetimes import DatetimeParts

    one_hot = group.sort == "time_cycles"
    parts = group.plans[0].of_sort(one_hot=one_hot)
    take = ("take", DatetimeParts(parts=[part.part for part in parts]))
    if not one_hot:
        return [take, ("fill", SimpleImputer()), ("scale", StandardScaler())]
    values = [np.arange(part.first, part.first + part.values, dtype=np.float64) for part in parts]
    encoder = OneHotEncoder(
        categories=values * len(group.plans), handle_unknown="ignore", sparse_output=sparse
    )
    return [take, ("encode", encoder)]


def _witness(plans: Sequence[ColumnPlan]) -> DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    rows = max([2, *(_needed(plan) for plan in plans if isinstance(plan, CategoryPlan))])
    for plan in plans:
        if isinstance(plan, NumericPlan):
            columns[plan.name] = np.zeros(rows)
        elif isinstance(plan, RecipePlan):
            shown = example(plan, rows)
            columns.update({name: shown for name in plan.columns if name not in columns})
        elif isinstance(plan, CategoryPlan):
            columns[plan.name] = pd.Series(_examples(plan, rows), dtype=float if plan.numbers else object)
        else:
            columns[plan.name] = np.zeros(rows, dtype="datetime64[us]")
    return pd.DataFrame(columns)


def _examples(plan: CategoryPlan, rows: int) -> list[Any]:
    frequent = [*plan.frequent, *([np.nan] if plan.missing_is == "frequent" else [])]
    rare = [*plan.rare, *([np.nan] if plan.missing_is == "rare" else [])]
    shown = frequent * 2 + rare
    return shown + frequent[:1] * (rows - len(shown))


def _needed(plan: CategoryPlan) -> int:
    return len(_examples(plan, 0))


def _teach(group: Group, pipeline: Any) -> None:
    """Set what was learnt from the profile."""
    if group.sort == "numbers":
        _teach_numbers(group.plans, pipeline.named_steps)
    elif group.sort == "times":
        parts = [part for plan in group.plans for part in plan.of_sort(one_hot=False)]
        center, spread = (np.array([getattr(part, key) for part in parts]) for key in ("center", "spread"))
        pipeline.named_steps["fill"].statistics_ = center
        _teach_standard(pipeline.named_steps["scale"], center, spread, group.plans[0].rows)
    elif group.sort in {"one_hot", "ordinal"} and group.plans[0].missing == "most_frequent":
        fills = np.array(
            [plan.fill for plan in group.plans], dtype=None if group.plans[0].numbers else object
        )
        for name in ("fill", "fill_none"):
            if name in pipeline.named_steps:
                pipeline.named_steps[name].statistics_ = fills.copy()


def _teach_numbers(plans: Sequence[NumericPlan], steps: Any) -> None:
    first = plans[0]
    center, spread = (np.array([getattr(plan, key) for plan in plans]) for key in ("center", "spread"))
    if first.fill is not None:
        steps["fill"].statistics_ = np.array([plan.fill for plan in plans])
    if first.low is not None:
        low, high = (np.array([getattr(plan, key) for plan in plans]) for key in ("low", "high"))
        middle, half = low / 2 + high / 2, high / 2 - low / 2
        ones = np.ones(len(plans))
        _teach_standard(steps["bound"], middle, half, first.rows)
        _teach_minmax(steps["clip"], scale=ones, low=-ones, spread=2 * ones, start=0 * ones, rows=first.rows)
        center, spread = (center - middle) / half, spread / half
    if "scale" not in steps:
        return
    scaler = steps["scale"]
    if first.scale in {"standard", "none"} or (first.scale == "maxabs" and first.low is not None):
        _teach_standard(scaler, center, spread, first.rows)
    elif first.scale == "minmax":
        _teach_minmax(
            scaler, scale=1 / spread, low=center, spread=spread, start=-center / spread, rows=first.rows
        )
    elif first.scale == "maxabs":
        scaler.scale_, scaler.max_abs_, scaler.n_samples_seen_ = spread, spread.copy(), first.rows
    else:
        scaler.center_, scaler.scale_ = center, spread


def _teach_standard(scaler: Any, mean: NDArray[np.float64], scale: NDArray[np.float64], rows: int) -> None:
    with np.errstate(over="ignore"):
        scaler.mean_, scaler.scale_, scaler.var_ = mean, scale, scale**2
    scaler.n_samples_seen_ = np.int64(rows)


def _teach_minmax(
    scaler: Any,
    *,
    scale: NDArray[np.float64],
    low: NDArray[np.float64],
    spread: NDArray[np.float64],
    start: NDArray[np.float64],
    rows: int,
) -> None:
    """Set ``X * scale + start``, fitted on values from `low` on over `spread`."""
    scaler.scale_, scaler.min_ = scale, start
    scaler.data_min_, scaler.data_max_, scaler.data_range_ = low, low + spread, spread
    scaler.n_samples_seen_ = rows
