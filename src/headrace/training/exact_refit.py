"""A preparation learnt from the rows of one fold, as a linear map of the features of another: no row is read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.preparation.plans import CategoryPlan, NumericPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.preparation.fitted import Preparation
    from headrace.preparation.layout import Layout
    from headrace.profiling.profile import Profile

Place = tuple[str, str, str]
"""Column, sort of the feature, label."""


def carried(whole: Preparation, profile: Profile) -> tuple[str, ...]:
    """Name the numbers whose missing values are filled without an indicator: their masks have to be measured as well.

    Parameters
    ----------
    whole : Preparation
    profile : Profile
        Of all rows that are measured; a column that lacks none needs no mask.
    """
    return tuple(
        plan.name
        for plan in whole.columns
        if isinstance(plan, NumericPlan)
        and plan.fill is not None
        and not plan.indicator
        and profile.columns[plan.name].overall.missing
    )


def refit_map(
    whole: Preparation, fold: Preparation, masks: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    r"""Say how the features of a fold's own preparation follow from those of the whole, where they do linearly.

    A number that is filled, then scaled, is :math:`(v - c) / s` with :math:`v` the value or the fill. With the
    indicator :math:`m` of a missing value the fold's feature is
    :math:`(s x + c + m (fill_f - fill) - c_f) / s_f`. One-hot features that are rare in the fold add up to its
    feature of rare ones.

    Parameters
    ----------
    whole, fold : Preparation
        Of the same options and columns.
    masks : sequence of str
        Columns whose masks follow the features of `whole`, from `carried`.

    Returns
    -------
    matrix : ndarray, shape (features of whole + masks, features of fold)
    offset : ndarray, shape (features of fold,)
        So that ``features_of_fold = [features, masks] @ matrix + offset``; None in place of both when a column was
        clipped otherwise, has a frequent value that is rare in the whole, or is prepared in a way that is not linear.
    """
    old = {plan.name: plan for plan in whole.columns}
    new = {plan.name: plan for plan in fold.columns}
    places, targets = _places(whole.layout), _places(fold.layout)
    if places is None or targets is None:
        return None
    if not all(name in old and _follows(old[name], plan) for name, plan in new.items()):
        return None
    index = {place: row for row, place in enumerate(places)}
    index |= {(name, "missing", ""): len(places) + row for row, name in enumerate(masks)}
    matrix = np.zeros((len(places) + len(masks), len(targets)))
    offset = np.zeros(len(targets))
    for column, place in enumerate(targets):
        terms, offset[column] = _terms(old[place[0]], new[place[0]], place)
        for source, factor in terms.items():
            if source in index:
                matrix[index[source], column] = factor
            elif (
                place[1] != "numbers"
            ):  # a number without a mask lacks no value in the rows that are measured
                return None
    return matrix, offset


def _terms(old: Any, new: Any, place: Place) -> tuple[dict[Place, float], float]:
    """Say of which features of the whole, how often each, and of which constant a feature of the fold is the sum."""
    name, sort, label = place
    if sort == "numbers":
        terms = {place: old.spread / new.spread}
        if new.fill is not None:
            terms[name, "missing", ""] = (new.fill - old.fill) / new.spread
        return terms, (old.center - new.center) / new.spread
    if sort == "one_hot" and old != new:
        return {(name, sort, source): 1.0 for source in _sources(old, new, label)}, 0.0
    return {place: 1.0}, 0.0


def _follows(old: Any, new: Any) -> bool:
    """Whether the features of a column follow linearly from those of the same column in the whole."""
    if old == new:
        return True
    if isinstance(new, NumericPlan):
        return _same_bounds(old, new)
    return isinstance(new, CategoryPlan) and _nested(old, new)


def _same_bounds(old: Any, new: NumericPlan) -> bool:
    if not isinstance(old, NumericPlan) or (old.low, old.high) != (new.low, new.high):
        return False
    if (old.fill is None) != (new.fill is None):
        return False
    fills = [plan.fill for plan in (old, new) if plan.fill is not None]
    return all(new.inside(fill) for fill in fills)


def _nested(old: Any, new: CategoryPlan) -> bool:
    """Whether the frequent values of the fold are frequent in the whole, and both say the same of missing ones."""
    if not isinstance(old, CategoryPlan) or (old.encode, new.encode) != ("one_hot", "one_hot"):
        return False
    if old.missing_is or new.missing_is or (old.missing, old.fill) != (new.missing, new.fill):
        return False
    # The whole's feature of rare values holds none that the fold tells apart; what is unseen goes the same way.
    return set(new.frequent) <= set(old.frequent) and (new.has_bucket or not old.has_bucket)


def _sources(old: CategoryPlan, new: CategoryPlan, label: str) -> list[str]:
    """Name the features of the whole that one feature of the fold adds up."""
    own = {str(value) for value in new.frequent}
    return [label] if label in own else [source for source in old.labels if source not in own]


def _places(layout: Layout) -> list[Place] | None:
    """Say of each feature which column it is of, its sort and its label; None where a sort is not known here."""
    if layout.recipes:
        return None
    places: list[Place] = []
    for group in layout.groups:
        found: list[Place]
        if group.sort in {"numbers", "missing", "ordinal"}:
            found = [(plan.name, group.sort, "") for plan in group.plans]
        elif group.sort == "one_hot":
            found = [(plan.name, "one_hot", label) for plan in group.plans for label in plan.labels]
        elif group.sort in {"times", "time_cycles"}:
            found = [(group.plans[0].name, group.sort, name) for name in group.names]
        else:
            return None
        if len(found) != len(group.names):
            return None
        places += found
    return places
