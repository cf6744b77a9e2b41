"""Profile: what a dataset holds; merge, JSON, _repr_html_ (pure)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import pyarrow as pa

from headrace.accumulators.columns import ColumnSummary, Kind
from headrace.accumulators.detail import STORED
from headrace.accumulators.gram import Gram
from headrace.accumulators.leaves import Groups, kind_of, plain_numbers, summarize
from headrace.accumulators.quantiles import QuantileSketch
from headrace.errors import DataError
from headrace.profiling.classes import MOST_CLASSES, NULL_CLASS, class_codes
from headrace.profiling.glance import glance
from headrace.profiling.writing import SCHEMA_VERSION, column_document, head, profile_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from headrace.accumulators.detail import Detail

_GRAM_ROWS = 1 << 15


@dataclass(frozen=True)
class ColumnProfile:
    """What one column holds.

    Attributes
    ----------
    name : str
    type : str
        The Arrow type, without dictionary encoding.
    kind : {"numeric", "boolean", "string", "datetime", "other"}
    by_class : dict of str to ColumnSummary
        One summary per label of the target that occurs (``"null"`` where it is null), in order of the keys; under the key ``""`` when rows
        are not told apart by class.
    """

    name: str
    type: str
    kind: Kind
    by_class: dict[str, ColumnSummary]

    @cached_property
    def overall(self) -> ColumnSummary:
        """All classes together, merged in order of their keys."""
        parts = [self.by_class[key] for key in sorted(self.by_class)]
        return reduce(ColumnSummary.merge, parts) if parts else ColumnSummary.empty(self.kind)

    @property
    def distinct(self) -> float:
        """Estimated number of distinct values, infinities among them."""
        whole = self.overall
        return whole.distinct.estimate() + (whole.pos_infs > 0) + (whole.neg_infs > 0)

    @property
    def is_text(self) -> bool:
        """Whether strings are prose or keys rather than categories.

        So it is when they have more than 40 characters on average, or when more than half of more than 1,000 are distinct.
        """
        lengths = self.overall.lengths
        if lengths is None or not lengths.n:
            return False
        return lengths.mean > 40 or (self.distinct > 1000 and self.unique_share > 0.5)

    @property
    def is_constant(self) -> bool:
        """Whether at most one value occurs, apart from missing ones."""
        return self.kind != "other" and self.distinct <= 1

    @property
    def unique_share(self) -> float:
        """Distinct values as a share of the rows that are not missing, at most 1; 0 of nothing."""
        return min(1.0, self.distinct / self.overall.valid) if self.overall.valid else 0.0

    def quantile(self, q: ArrayLike) -> Any:
        """Return quantiles of the finite values, within the sketch's rank error; NaN for strings and booleans.

        Parameters
        ----------
        q : float or array_like of float
            Shares in [0, 1].
        """
        sketch = self.overall.quantiles or QuantileSketch()
        return sketch.quantile(q)

    def top(self, n: int = 10) -> list[tuple[Any, int]]:
        """Return the `n` most frequent values with their counts, booleans as bool; see `overall.hitters.error`."""
        items = self.overall.hitters.items()[:n]
        return [(bool(value), count) for value, count in items] if self.kind == "boolean" else items

    def shown(self, value: Any) -> str:
        """Write one value of this column for people: dates and timestamps in ISO 8601, numbers to 6 digits."""
        if self.kind == "datetime" and np.isfinite(value):
            unit = re.search(r"\[(\w+)", self.type)
            code = unit.group(1) if unit else "D"
            return str(np.datetime64(round(value), cast("Any", "D" if code == "day" else code))).replace(
                "T", " "
            )
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    def merge(self, other: Self) -> Self:
        """Return the profile of both columns' rows."""
        if self.kind != other.kind:
            raise DataError(
                f"is {self.type} in one chunk and {other.type} in another", where=f"column {self.name!r}"
            )
        mine, theirs = self.by_class, other.by_class
        merged = {
            key: mine[key].merge(theirs[key])
            if key in mine and key in theirs
            else (mine.get(key) or theirs[key])
            for key in sorted(mine.keys() | theirs.keys())
        }
        return replace(self, by_class=merged)

    def collapsed(self) -> Self:
        """Return the profile without classes."""
        return replace(self, by_class={"": self.overall})


@dataclass(frozen=True)
class Profile:
    """What a dataset, or one part of it, holds.

    Attributes
    ----------
    rows : int
    columns : dict of str to ColumnProfile
        In the order of the schema.
    target : str or None
    classes : dict of str to int
        Rows of each label of the target, by ``str`` of the label; without the rows whose target is null.
        Empty when there is no target or the rows are not told apart.
    gram : Gram or None
        Cross products of the numeric columns.
    classes_overflow : bool
        The target is a float, or has more than 32 labels in all: rows are not told apart by class. Once true in any
        chunk, or by the union of two, it is true of the merged profile, so it does not depend on the split.
    """

    rows: int
    columns: dict[str, ColumnProfile]
    target: str | None = None
    classes: dict[str, int] = field(default_factory=dict)
    gram: Gram | None = None
    classes_overflow: bool = False

    def merge(self, other: Self) -> Self:
        """Return the profile of both; they must have the same columns and target."""
        if self.columns.keys() != other.columns.keys() or self.target != other.target:
            odd = ", ".join(sorted(self.columns.keys() ^ other.columns.keys()))
            raise DataError(
                f"profiles of different columns or targets cannot be merged: {odd or (self.target, other.target)}"
            )
        labels = sorted(self.classes.keys() | other.classes.keys())
        overflow = self.classes_overflow or other.classes_overflow or len(labels) > MOST_CLASSES
        left, right = (side.collapsed() if overflow else side for side in (self, other))
        return replace(
            self,
            rows=self.rows + other.rows,
            columns={name: column.merge(right.columns[name]) for name, column in left.columns.items()},
            classes={k: left.classes.get(k, 0) + right.classes.get(k, 0) for k in labels}
            if not overflow
            else {},
            gram=self.gram.merge(other.gram) if self.gram and other.gram else None,
            classes_overflow=overflow,
        )

    def collapsed(self) -> Self:
        """Return the profile without classes."""
        if self.classes_overflow:
            return self
        columns = {name: column.collapsed() for name, column in self.columns.items()}
        return replace(self, columns=columns, classes={}, classes_overflow=True)

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document; infinities and NaN are the strings ``"inf"``, ``"-inf"``, ``"nan"``.

        Keys:

        - ``schema_version`` : 1
        - ``rows``, ``target``, ``classes``, ``classes_overflow`` : as the attributes
        - ``columns`` : name to

          - ``type``, ``kind``
          - ``overall`` : for readers; `from_dict` ignores it. ``rows, nulls, nans, missing, missing_share, pos_infs, neg_infs,
            zeros, negatives``; numeric, boolean, datetime: ``integers_only, mean, std, skewness, kurtosis, minimum, maximum``;
            numeric, datetime: ``quantiles`` (``p01, p05, p25, p50, p75, p95, p99``), ``rank_error``; strings: ``length_mean,
            length_minimum, length_maximum``; all but other: ``distinct, distinct_exact, distinct_relative_error``,
            ``top`` (up to 20 pairs of value and count), ``top_exact, top_error``
          - ``by_class`` : label to the full state of `ColumnSummary`

        - ``gram`` : null, or ``names, n, mean, squares, products`` (matrices as `encode_array` writes them)
        """
        columns = {name: column_document(column) for name, column in self.columns.items()}
        return {**head(self), "columns": columns, "gram": self.gram.state() if self.gram else None}

    @classmethod
    def from_dict(cls, document: Any, *, where: str = "") -> Self:
        """Rebuild from `to_dict`.

        Parameters
        ----------
        document : dict
            As `to_dict` gave it.
        where : str, optional
            The file that it comes from, for errors.

        Raises
        ------
        DataError
            When the document is not a profile of this schema version, or not a whole one.
        """
        mend = "write it anew with `headrace profile`"
        if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
            raise DataError(f"is not a profile of schema version {SCHEMA_VERSION}", where=where, mend=mend)
        try:
            return cls._rebuilt(document)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError(
                f"is not a profile that can be read ({type(error).__name__}: {error})", where=where, mend=mend
            ) from error

    @classmethod
    def _rebuilt(cls, document: dict[str, Any]) -> Self:
        columns = {
            name: ColumnProfile(
                name,
                held["type"],
                held["kind"],
                {key: ColumnSummary.from_state(state) for key, state in held["by_class"].items()},
            )
            for name, held in document["columns"].items()
        }
        return cls(
            document["rows"],
            columns,
            document["target"],
            document["classes"],
            Gram.from_state(document["gram"]) if document["gram"] else None,
            document["classes_overflow"],
        )

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return b"".join(profile_lines(self)).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild from `to_json`."""
        return cls.from_dict(json.loads(text))

    def _repr_html_(self) -> str:
        return glance(self)


def profile_table(
    table: pa.Table,
    *,
    target: str | None = None,
    part: NDArray[np.uint8] | None = None,
    parts: Sequence[str] = ("all",),
    columns: Sequence[str] | None = None,
    gram: bool = False,
) -> dict[str, Profile]:
    """Profile one chunk.

    Parameters
    ----------
    table : pyarrow.Table
        Dictionary columns are counted by code.
    target : str, optional
        Column by whose labels the rows are told apart; see `Profile.classes_overflow`.
    part : ndarray of uint8, shape (rows,), optional
        Index into `parts` of each row; absent, all rows are in the first.
    parts : sequence of str
    columns : sequence of str, optional
        Those that are profiled; all by default.
    gram : bool
        Measure cross products of numeric columns, of which d take 32 d^2 bytes.

    Returns
    -------
    dict of str to Profile
        For each of `parts`, even when it has no rows here.

    Raises
    ------
    DataError
        When column names are not unique or the target is not among them.
    """
    names = table.column_names
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError("occurs more than once", where=f"column {twice[0]!r}", mend="rename one of them")
    if target is not None and target not in names:
        raise DataError(
            "is not in the data", where=f"target {target!r}", mend=f"columns are {', '.join(names)}"
        )
    labels = None if target is None else class_codes(table[target])
    overflow = target is not None and labels is None
    codes, keys = labels or (np.zeros(table.num_rows, dtype=np.uint8), [""])
    if part is not None:
        room = np.uint8 if len(parts) * len(keys) <= 1 << 8 else np.uint16
        codes = codes + part * room(len(keys))
    groups = Groups.of(codes, len(parts) * len(keys))
    profiled: list[dict[str, ColumnProfile]] = [{} for _ in parts]
    for name in names if columns is None else columns:
        column = table.column(name)
        logical = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        summaries = iter(summarize(column, groups))
        for found in profiled:
            by_class = {key: next(summaries) for key in keys}
            kept = {key: by_class[key] for key in sorted(keys) if by_class[key].rows or labels is None}
            found[name] = ColumnProfile(name, str(logical), kind_of(logical), kept)
    sizes = np.diff(groups.bounds).reshape(len(parts), len(keys)).tolist()
    grams = _grams(table, part, len(parts)) if gram else [None] * len(parts)
    return {
        parts[i]: Profile(
            sum(sizes[i]),
            profiled[i],
            target,
            {k: n for k, n in zip(keys, sizes[i], strict=True) if n and labels and k != NULL_CLASS},
            grams[i],
            overflow,
        )
        for i in range(len(parts))
    }


def merge_profiles(a: dict[str, Profile], b: dict[str, Profile]) -> dict[str, Profile]:
    """Merge the profiles of the same parts; when the labels of all parts are too many, none is told apart by class."""
    merged = {name: profile.merge(b[name]) for name, profile in a.items()}
    labels = set().union(*(profile.classes for profile in merged.values()))
    if len(labels) > MOST_CLASSES or any(profile.classes_overflow for profile in merged.values()):
        return {name: profile.collapsed() for name, profile in merged.items()}
    return merged


def compact(profile: Profile, detail: Detail = STORED) -> Profile:
    """Collapse the sketches of a profile for storing.

    By default quantile sketches are left with 512 points, counts of frequent values with 1,000, distinct counts with 1,024 hashes; each keeps
    its stated error. Fit a preparation from the profile as measured, not from this.
    """
    columns = {
        name: replace(column, by_class={key: part.compact(detail) for key, part in column.by_class.items()})
        for name, column in profile.columns.items()
    }
    return replace(profile, columns=columns)


def _grams(table: pa.Table, part: NDArray[np.uint8] | None, parts: int) -> list[Gram | None]:
    names = [name for name in table.column_names if kind_of(table.schema.field(name).type) == "numeric"]
    grams = [Gram.empty(names) for _ in range(parts)]
    for start in range(0, table.num_rows, _GRAM_ROWS):
        rows = table.select(names).slice(start, _GRAM_ROWS)
        X = np.empty((rows.num_rows, len(names)))
        for j, column in enumerate(rows.columns):
            decoded = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
            X[:, j] = (
                plain_numbers(decoded.combine_chunks())
                .cast(pa.float64(), safe=False)
                .to_numpy(zero_copy_only=False)
            )
        for i in range(parts):
            here = X if part is None else X[part[start : start + _GRAM_ROWS] == i]
            grams[i] = grams[i].update(here) if part is not None or i == 0 else grams[i]
    return list(grams)
