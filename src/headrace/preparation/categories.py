"""Categories: which values get a feature of their own, from the frequent values of a profile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from headrace.preparation.plans import MISSING_WORD, CategoryPlan, Dropped

if TYPE_CHECKING:
    from headrace.preparation.options import CategoricalOptions
    from headrace.profiling.profile import ColumnProfile


def fit_categories(column: ColumnProfile, options: CategoricalOptions) -> CategoryPlan | Dropped:
    """Learn the categories of a column.

    The rule is that of scikit-learn's encoders: values of fewer than `min_frequency` rows are rare, and so are the least frequent
    ones beyond `max_categories` (of equal counts, those that come first in order); all rare values share one feature or code.
    Exact for up to 10,000 distinct values. Beyond, counts are too low by up to `hitters.error` rows, so a value may wrongly be rare;
    and there is always a common feature, for what is not held.

    Parameters
    ----------
    column : ColumnProfile
        Strings, or numbers that are codes.
    options : CategoricalOptions
        ``encode`` "auto" means one-hot.
    """
    summary = column.overall
    encode: Literal["one_hot", "ordinal"] = "ordinal" if options.encode == "ordinal" else "one_hot"
    held = summary.hitters.items()
    strings = column.kind == "string"
    counts: dict[str | float, int] = {value if strings else float(value): count for value, count in held}
    fill: str | float | None = None
    if options.missing == "most_frequent":
        if not held:
            return Dropped(column.name, column.kind, "no value occurs often enough to be a category")
        fill = held[0][0] if strings else float(held[0][0])
    elif strings:
        fill = MISSING_WORD
    if summary.missing:
        key = math.nan if fill is None else fill
        counts[key] = counts.get(key, 0) + summary.missing
    # NaN comes last, as in scikit-learn.
    values = sorted(counts, key=lambda value: (value != value, value))  # noqa: PLR0124 - NaN alone differs from itself
    rare = rare_categories(
        np.array([counts[value] for value in values]),
        summary.rows,
        options.min_frequency,
        options.max_categories,
    )
    frequent_values = [value for value, is_rare in zip(values, rare, strict=True) if not is_rare]
    rare_values = [value for value, is_rare in zip(values, rare, strict=True) if is_rare]
    if not frequent_values:
        return Dropped(column.name, column.kind, "no value occurs often enough to be a category")
    if not summary.hitters.exact and not rare_values:
        rare_values = [_unheard(frequent_values, strings=strings)]
    missing_is: Literal["", "frequent", "rare"] = ""
    if any(value != value for value in frequent_values):  # noqa: PLR0124 - NaN alone differs from itself
        missing_is = "frequent"
    elif any(value != value for value in rare_values):  # noqa: PLR0124 - NaN alone differs from itself
        missing_is = "rare"
    frequent, others = (
        tuple(value for value in part if value == value)  # noqa: PLR0124 - NaN alone differs from itself
        for part in (frequent_values, rare_values)
    )
    if encode == "one_hot":
        others = others[:1]
    return CategoryPlan(column.name, column.kind, encode, options.missing, fill, frequent, others, missing_is)


def rare_categories(
    counts: np.ndarray[tuple[int], np.dtype[np.int64]],
    rows: int,
    min_frequency: float | None,
    max_categories: int | None,
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell which categories are rare.

    Parameters
    ----------
    counts : ndarray of int64, shape (k,)
        Rows of each category, in the order of the categories.
    rows : int
        Rows in all.
    min_frequency : int, float or None
        Rows, or share of rows when a float, below which a category is rare.
    max_categories : int or None
        Features at most, the common one of rare categories included.

    Returns
    -------
    ndarray of bool, shape (k,)
    """
    rare = np.zeros(len(counts), dtype=bool)
    if min_frequency is not None:
        rare = counts < (min_frequency * rows if min_frequency < 1 else min_frequency)
    # scikit-learn reserves the common feature even when nothing is rare yet.
    if max_categories is not None and max_categories < np.count_nonzero(~rare) + 1:
        rare[np.argsort(counts, kind="stable")[: -(max_categories - 1)]] = True
    return rare


def _unheard(values: list[str | float], *, strings: bool) -> str | float:
    """Return a value that is none of these: it stands for those too rare to be held."""
    if not strings:
        return max(float(value) for value in values if value == value) + 1.0  # noqa: PLR0124 - NaN alone differs from itself
    word = "…"
    while word in values:
        word += "…"
    return word
