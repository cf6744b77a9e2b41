"""Which columns stay: scored from the profile of the training rows, its classes told apart, and from what was found beside it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import WorkflowError
from headrace.preparation.linear_selection import JOINT, joint_scores
from headrace.preparation.permutation import permutation_scores

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from headrace.accumulators.columns import ColumnSummary
    from headrace.accumulators.gram import Gram
    from headrace.preparation.options import SelectOptions
    from headrace.preparation.parted import SampledRows
    from headrace.profiling.profile import ColumnProfile, Profile

BINS = 32
"""Bins of a number of which the information is measured."""


def select_columns(
    profile: Profile,
    names: Sequence[str],
    options: SelectOptions,
    gram: Gram | None,
    sampled: SampledRows | None = None,
) -> dict[str, str]:
    """Tell which columns go, and why.

    Columns of a kind that the score does not know stay: variance, correlation, anova, l1 and recursive elimination know numbers, chi2
    strings, mutual information both, permutation all.

    Parameters
    ----------
    profile : Profile
        Of the training rows.
    names : sequence of str
        Columns that are left.
    options : SelectOptions
    gram : Gram or None
        With the target, for the correlation with a number; needed by what judges numbers together.
    sampled : SampledRows, optional
        With the columns and the target, for permutation.

    Raises
    ------
    WorkflowError
        When the score needs classes, and the target has none.
    """
    scores = _scores(profile, names, options.by, gram, sampled)
    ranked = sorted(scores, key=lambda name: (-scores[name], list(names).index(name)))
    if options.keep is not None:
        going = ranked[options.keep :]
        return {
            name: f"{options.by} {scores[name]:.4g} is not among the {options.keep} largest" for name in going
        }
    assert options.above is not None
    return {
        name: f"{options.by} {scores[name]:.4g} is not above {options.above:g}"
        for name in ranked
        if not scores[name] > options.above
    }


def _scores(
    profile: Profile, names: Sequence[str], by: str, gram: Gram | None, sampled: SampledRows | None
) -> dict[str, float]:
    names = [name for name in names if name != profile.target]
    if by in JOINT:
        return {} if gram is None else joint_scores(profile, names, by, gram)
    if by == "permutation":
        if sampled is None or profile.target not in sampled.names:
            raise WorkflowError(
                "permutation needs a sample of rows with their target, which the profile's pass keeps only when asked",
                where="prepare.select.by",
                mend="say it in prepare: of a workflow with a target, not in what candidates vary",
            )
        strings = frozenset(name for name in names if profile.columns[name].kind == "string")
        return permutation_scores(sampled, names, profile.target, strings)
    return {name: score for name in names if (score := score_of(profile, name, by, gram)) is not None}


def score_of(profile: Profile, name: str, by: str, gram: Gram | None = None) -> float | None:
    """Score one column; None when the score does not know its kind.

    - variance: of the values.
    - correlation: its absolute value, with the number that is the target, or for two classes with 0 and 1.
    - anova: F of the means of the classes, as `sklearn.feature_selection.f_classif`; exact.
    - chi2: of the table of values by class, over its degrees of freedom; exact for up to 10,000 values.
    - mutual_information: in nats, of values or of 32 bins at even shares with the classes, missing as one of them.
    """
    column = profile.columns[name]
    number = column.kind in {"numeric", "boolean"}
    if by == "variance":
        moments = column.overall.moments
        return moments.m2 / moments.n if number and moments is not None and moments.n else None
    if by == "correlation" and gram is not None and profile.target in gram.names:
        if name not in gram.names:
            return None
        found = gram.correlation()[gram.names.index(name), gram.names.index(profile.target)]
        return 0.0 if math.isnan(found) else abs(float(found))
    if not profile.classes:
        raise WorkflowError(
            f"{by} asks how values differ between classes, and the target has none",
            where="prepare.select.by",
            mend="use correlation or variance",
        )
    groups = [column.by_class[key] for key in profile.classes if key in column.by_class]
    if by in {"anova", "correlation"}:
        if not number:
            return None
        f, rest = _anova(groups)
        # r^2 of two classes follows from F.
        return f if by == "anova" else math.sqrt(f / (f + rest)) if f < math.inf else 1.0
    if by == "chi2":
        return _chi2(_table(groups)) if column.kind == "string" else None
    if column.kind == "string" or column.distinct <= BINS:
        return _information(_table(groups))
    return _information(_binned(column, groups)) if column.overall.quantiles is not None else None


def _anova(groups: Collection[ColumnSummary]) -> tuple[float, float]:
    """F and the degrees of freedom within, from counts, means and squares of the classes."""
    held = [group.moments for group in groups if group.moments is not None and group.moments.n]
    n = sum(moments.n for moments in held)
    within = sum(moments.m2 for moments in held)
    rest = n - len(held)
    if len(held) < 2 or rest <= 0:
        return 0.0, max(1.0, float(rest))
    overall = sum(moments.n * moments.mean for moments in held) / n
    between = sum(moments.n * (moments.mean - overall) ** 2 for moments in held)
    if within <= 0:
        return (math.inf if between > 0 else 0.0), float(rest)
    return (between / (len(held) - 1)) / (within / rest), float(rest)


def _table(groups: Sequence[ColumnSummary]) -> NDArray[np.float64]:
    """Rows by value and class; missing is a value, and so is what is too rare to be held."""
    counts: list[dict[Any, int]] = [dict(group.hitters.items()) for group in groups]
    values = sorted(set().union(*counts), key=str)
    held = [[each.get(value, 0) for each in counts] for value in values]
    held.append([group.missing for group in groups])
    held.append([max(0, group.rows - group.missing - sum(each.values())) for group, each in zip(groups, counts, strict=True)])  # fmt: skip
    return _rows_with_any(np.array(held, dtype=float))


def _binned(column: ColumnProfile, groups: Sequence[ColumnSummary]) -> NDArray[np.float64]:
    edges = np.unique(np.asarray(column.quantile(np.linspace(0, 1, BINS + 1)[1:-1]), dtype=float))
    columns = []
    for group in groups:
        share = (
            np.zeros(len(edges))
            if group.quantiles is None or not group.quantiles.n
            else group.quantiles.cdf(edges)
        )
        parts = np.diff(np.concatenate([[0.0], np.asarray(share, dtype=float), [1.0]]))
        columns.append([*(parts * (group.rows - group.missing)), group.missing])
    return _rows_with_any(np.maximum(np.array(columns, dtype=float).T, 0.0))


def _rows_with_any(table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(table[table.sum(axis=1) > 0])


def _chi2(table: NDArray[np.float64]) -> float:
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(1.0, float(table.sum()))
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    with np.errstate(all="ignore"):
        terms = np.where(expected > 0, (table - expected) ** 2 / expected, 0.0)
    return float(terms.sum() / max(1, freedom))


def _information(table: NDArray[np.float64]) -> float:
    n = max(1.0, float(table.sum()))
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    with np.errstate(all="ignore"):
        terms = np.where(table > 0, table / n * np.log(table / expected), 0.0)
    return max(0.0, float(terms.sum()))
