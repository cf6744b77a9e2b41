"""Values of too few rows are left out of profiles, before anything is learnt or shown from them (pure)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.profiling.profile import ColumnProfile, Profile


def withhold(
    profiles: Mapping[str, Profile], counted: Profile, k: int, *, but: str | None = None
) -> dict[str, Profile]:
    """Leave frequent values out that fewer than k rows hold.

    Whether values are told is decided once for all parts, so that every one tells the same. The error of the counts
    grows to the largest count that was left out, as a value that is not held occurs at most so often; distinct counts
    and missing shares stay. Quantiles, smallest and largest values are no frequent values, and stay as well.

    Parameters
    ----------
    profiles : mapping of str to Profile
        The parts of one dataset.
    counted : Profile
        Whose rows count, such as those that are learnt from.
    k : int
        Rows that a value must have there.
    but : str, optional
        A column that is left as it is: the target, whose classes are named.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from headrace.profiling.profile import profile_table
    >>> held = profile_table(pa.table({"city": ["Ulm", "Ulm", "Bonn"]}))
    >>> withhold(held, held["all"], 2)["all"].columns["city"].top()
    [('Ulm', 2)]
    """
    if k == 1:
        return dict(profiles)
    told = {
        name: {value for value, count in column.overall.hitters.items() if count >= k}
        for name, column in counted.columns.items()
        if name != but
    }
    return {
        part: replace(
            profile,
            columns={
                name: _restricted(column, told[name]) if name in told else column
                for name, column in profile.columns.items()
            },
        )
        for part, profile in profiles.items()
    }


def _restricted(column: ColumnProfile, told: set[object]) -> ColumnProfile:
    by_class = {
        key: replace(summary, hitters=summary.hitters.restricted(told))
        for key, summary in column.by_class.items()
    }
    return replace(column, by_class=by_class)
