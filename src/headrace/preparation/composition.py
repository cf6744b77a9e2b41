"""All columns of a preparation: which stay, what each becomes alone, and what several become together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from headrace.errors import WorkflowError
from headrace.preparation.curves import fit_curve, fit_indicator, fit_outlier_flag
from headrace.preparation.defaults import given_keys, numeric_options, plan_column
from headrace.preparation.encodings import COUNTED, TEXTS
from headrace.preparation.finders import DERIVED, GRAM, SAMPLE, counted_name
from headrace.preparation.forests import fit_isolation_forest
from headrace.preparation.latent import LATENT, fit_latent
from headrace.preparation.needs import derived_recipes, encoding_of, imputes_by_regression, needs_gram
from headrace.preparation.numeric import fit_numeric
from headrace.preparation.options import ColumnOptions
from headrace.preparation.plans import Dropped, NumericPlan
from headrace.preparation.recipes import RecipePlan
from headrace.preparation.rules import RowRule, Rule
from headrace.preparation.selection import select_columns
from headrace.preparation.together import fit_interactions, fit_reduction, fit_regression_imputer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.accumulators.gram import Gram
    from headrace.preparation.forests import ForestRule
    from headrace.preparation.options import CategoricalOptions, PrepareOptions
    from headrace.preparation.plans import ColumnPlan
    from headrace.profiling.profile import ColumnProfile, Profile


def compose(
    profile: Profile, options: PrepareOptions, features: Sequence[str], found: Mapping[str, Any]
) -> tuple[list[ColumnPlan], list[Dropped], list[Rule]]:
    """Learn what becomes of all columns; see `headrace.preparation.fitted.fit_preparation`."""
    columns = profile.columns
    gram: Gram | None = found.get(GRAM)
    if gram is None and needs_gram(options, [name for name in features if columns[name].kind == "numeric"]):
        raise _not_found("numbers that are prepared together need their cross products")
    staying: list[str] = []
    dropped: list[Dropped] = []
    going = {}
    if options.select is not None:
        going = select_columns(
            profile, _judged(profile, options, features), options.select, gram, found.get(SAMPLE)
        )
    regressed = [name for name in features if name not in going and _regresses(columns[name], options)]
    plans: list[ColumnPlan] = []
    for name in features:
        if name in going:
            dropped.append(Dropped(name, columns[name].kind, going[name], asked=True))
        elif name not in regressed:
            how = encoding_of(options, name, columns[name].kind)
            counted = None if how is None else found.get(counted_name(name, how))
            if (
                counted is None
                and how is not None
                and how.encode in COUNTED
                and options.columns.get(name) != "drop"
            ):
                raise _not_found(f"encode: {how.encode} of {name!r} needs counts of its values")
            planned = plan_column(columns[name], options, counted)
            if isinstance(planned, Dropped):
                dropped.append(planned)
            else:
                plans += planned if how is None else _latent(planned, how, found)
                staying.append(name)
        else:
            staying.append(name)
    if regressed and gram is not None:
        plans.append(fit_regression_imputer([columns[name] for name in regressed], gram))
        plans += [
            fit_indicator(name, "numeric")
            for name in regressed
            if columns[name].overall.missing and _numeric(columns[name], options).indicator
        ]
    plans = _reduced(profile, options, plans, gram)
    for number, interaction in enumerate(options.interact, 1):
        _require_numbers(columns, interaction.columns, f"prepare.interact.{number - 1}.columns")
        plans.append(fit_interactions(columns, interaction, number))
    made, lost = _derived(profile, options, found)
    plans += made
    dropped += lost
    rules = _rules(profile, options, staying)
    forest = _isolated(profile, options, staying, found)
    return plans, dropped, rules if forest is None else [*rules, forest]


def _latent(
    planned: Sequence[ColumnPlan], how: CategoricalOptions, found: Mapping[str, Any]
) -> list[ColumnPlan]:
    """Reduce a text to singular vectors where it is asked for."""
    if how.components is None or how.encode not in TEXTS:
        return list(planned)
    texts = [plan for plan in planned if isinstance(plan, RecipePlan)]
    return [fit_latent(plan, how.components, found.get(LATENT)) for plan in texts]


def _not_found(what: str) -> WorkflowError:
    return WorkflowError(
        f"{what}, which the profile's pass takes only when the workflow's own prepare: asks for it",
        where="prepare",
        mend="say it in prepare:, not in what candidates vary",
    )


def _derived(
    profile: Profile, options: PrepareOptions, found: Mapping[str, Any]
) -> tuple[list[ColumnPlan], list[Dropped]]:
    """Prepare derived columns as any number, after the step that computes each."""
    plans: list[ColumnPlan] = []
    dropped: list[Dropped] = []
    if options.derive and DERIVED not in found:
        raise _not_found("derived columns need a profile of their own")
    for recipe in derived_recipes(options, {name: column.kind for name, column in profile.columns.items()}):
        column = found[DERIVED].columns[recipe.name]
        own = options.columns.get(recipe.name)
        if own == "passthrough" or _is_encoded(own):
            raise WorkflowError(
                "a derived column is prepared as a number",
                where=f"prepare.columns.{recipe.name}",
                mend="use keys of numeric, or drop",
            )
        lost = plan_column(column, options)
        if isinstance(lost, Dropped):
            dropped.append(lost)
            continue
        numeric = _numeric(column, options)
        if numeric.impute == "regression":
            numeric = numeric.model_copy(update={"impute": "mean"})
        chains = list(fit_curve(column, numeric))
        flag = fit_outlier_flag(fit_numeric(column, numeric)) if numeric.outliers == "flag" else None
        chains += [] if flag is None else [flag]
        plans += [chain.after(recipe.steps[0], recipe.columns, recipe.kind) for chain in chains]
    return plans, dropped


def _judged(profile: Profile, options: PrepareOptions, features: Sequence[str]) -> list[str]:
    """Columns that selection may take: those that would become features."""
    return [
        name
        for name in features
        if options.columns.get(name) != "drop"
        and profile.columns[name].kind != "other"
        and profile.columns[name].overall.valid
        and not (profile.columns[name].is_constant and not profile.columns[name].overall.missing)
    ]


def _numeric(column: ColumnProfile, options: PrepareOptions) -> Any:
    own = options.columns.get(column.name)
    return numeric_options(
        column, options, given_keys(own if isinstance(own, ColumnOptions) else ColumnOptions())
    )


def _regresses(column: ColumnProfile, options: PrepareOptions) -> bool:
    """Tell whether a number is filled from others, and refuse what cannot be done to it besides."""
    if column.kind != "numeric" or not imputes_by_regression(options, column.name):
        return False
    own = options.columns.get(column.name)
    if own == "drop" or _is_encoded(own):
        return False
    summary = column.overall
    if not summary.valid or (column.is_constant and not summary.missing):
        return False
    if summary.missing > options.drop_missing_above * summary.rows:
        return False
    numeric = _numeric(column, options)
    if numeric.transform != "none" or numeric.expand is not None or numeric.scale != "standard":
        raise WorkflowError(
            "a number that is filled by regression is scaled to mean 0 and deviation 1, and nothing else",
            where=f"prepare.columns.{column.name}" if column.name in options.columns else "prepare.numeric",
            mend="leave out transform, expand and scale, or fill it otherwise",
        )
    return True


def _reduced(
    profile: Profile, options: PrepareOptions, plans: list[ColumnPlan], gram: Any
) -> list[ColumnPlan]:
    """Put few features in place of the numbers that are reduced; their indicators stay."""
    if options.reduce is None:
        return plans
    wanted = options.reduce.columns
    if wanted is not None:
        _require_numbers(profile.columns, wanted, "prepare.reduce.columns")
    taken = [
        plan.name
        for plan in plans
        if isinstance(plan, NumericPlan)
        and plan.kind == "numeric"
        and (plan.name in wanted if wanted is not None else options.columns.get(plan.name) is None)
    ]
    columns = [profile.columns[name] for name in taken]
    left: list[ColumnPlan] = [
        plan for plan in plans if not (isinstance(plan, NumericPlan) and plan.name in taken)
    ]
    shown = {plan.name for plan in plans if isinstance(plan, NumericPlan) and plan.indicator}
    left.append(fit_reduction(columns, options.reduce, gram, profile.rows))
    return left + [fit_indicator(name, "numeric") for name in taken if name in shown]


def _isolated(
    profile: Profile, options: PrepareOptions, staying: Sequence[str], found: Mapping[str, Any]
) -> ForestRule | None:
    """Learn the isolation forest of the numbers that become features, or of those that are named, which need not."""
    asked = options.isolation_forest
    if asked is None:
        return None
    where = "prepare.isolation_forest.columns"
    _require_numbers(profile.columns, asked.columns or (), where)
    names = asked.columns or tuple(
        name
        for name in staying
        if profile.columns[name].kind == "numeric" and not _is_encoded(options.columns.get(name))
    )
    if not names:
        raise WorkflowError(
            "there is no number to look at", where="prepare.isolation_forest", mend="leave it out"
        )
    if SAMPLE not in found or not set(names) <= set(found[SAMPLE].names):
        raise _not_found("an isolation forest needs a sample of rows")
    return fit_isolation_forest([profile.columns[name] for name in names], asked, found[SAMPLE])


def _is_encoded(own: str | ColumnOptions | None) -> bool:
    return isinstance(own, ColumnOptions) and own.encode is not None


def _require_numbers(columns: Mapping[str, ColumnProfile], names: Sequence[str], where: str) -> None:
    for name in names:
        if columns[name].kind != "numeric" or not columns[name].overall.valid:
            raise WorkflowError(
                f"column {name!r} is not a number with values, but {columns[name].kind}",
                where=where,
                mend="name numbers alone",
            )


def _rules(profile: Profile, options: PrepareOptions, staying: Sequence[str]) -> list[Rule]:
    """Say which rows are not trained on: without a value that is needed, or with an outlier that is removed."""
    rules: list[Rule] = []
    for name in options.drop_rows:
        if name not in staying:
            raise WorkflowError(
                f"column {name!r} does not become a feature",
                where="prepare.drop_rows",
                mend="say data.where: COLUMN is not null, or keep the column",
            )
        rules.append(RowRule(name, rows=profile.columns[name].overall.missing))
    for name in staying:
        column = profile.columns[name]
        own = options.columns.get(name)
        if column.kind != "numeric" or own == "passthrough":
            continue
        numeric = _numeric(column, options)
        if numeric.outliers != "remove" or _is_encoded(own):
            continue
        plan = fit_numeric(column, numeric.model_copy(update={"impute": "mean"}))
        if plan.low is None or plan.high is None:
            continue
        sketch = column.overall.quantiles
        inside = (
            1.0
            if sketch is None
            else float(sketch.cdf(plan.high)) - float(sketch.cdf(math.nextafter(plan.low, -math.inf)))
        )
        rules.append(RowRule(name, plan.low, plan.high, round((1 - inside) * (column.overall.valid))))
    return rules
