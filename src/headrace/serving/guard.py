"""The guard: values of each input held against the profile of the training data, and counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.packaging.exports.onnx_file import feed, sort_of
from headrace.packaging.exports.steps import MISSING_STRING
from headrace.packaging.exports.times import MISSING_TIME
from headrace.packaging.inputs import time_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.packaging.signature import InputColumn, Signature
    from headrace.profiling.profile import Profile
    from headrace.serving.feeds import Feeds
    from headrace.serving.options import GuardOptions

RANGE, CATEGORY, MISSING = "range", "category", "missing"
TOGETHER = 1024
"""Most rows whose columns are looked at together; with more, the look column by column costs less than the copy."""


@dataclass(frozen=True)
class Finding:
    """Rows of one request in which one column holds what training has not seen."""

    column: str
    check: str
    """``range``, ``category`` or ``missing``."""
    rows: NDArray[np.int64]
    rejected: bool


class Guard:
    """Holds inputs against what training has seen.

    Parameters
    ----------
    signature : Signature
        The inputs.
    profile : Profile
        Of the training rows.
    options : GuardOptions
        What is done.
    """

    def __init__(self, signature: Signature, profile: Profile, options: GuardOptions) -> None:
        self.options = options
        self.counts: Counter[tuple[str, str]] = Counter()
        self._checks = [_Check.of(column, profile) for column in signature.inputs]
        self._numbers = _Ranges.of([check for check in self._checks if check.kind in {"numeric", "boolean"}])
        self._times = _Ranges.of([check for check in self._checks if check.kind == "datetime"])
        self._strings = [(check, check.allowed()) for check in self._checks if check.kind == "string"]

    def check(self, feeds: Feeds) -> tuple[Feeds, list[Finding]]:
        """Look for values that training has not seen.

        Parameters
        ----------
        feeds : dict of str to ndarray, shape (rows, 1)
            The inputs.

        Returns
        -------
        feeds : dict of str to ndarray
            The inputs, clipped where the options say so.
        findings : list of Finding
            What was found; rows of rejected ones get no answer.
        """
        kept, findings = feeds, []
        for column in self._suspects(feeds):
            values = feeds[column.name]
            for check, outside in column.outside(values):
                rows = np.flatnonzero(outside)
                if len(rows) == 0:
                    continue
                policy = getattr(self.options, check)
                findings.append(Finding(column.name, check, rows, policy == "reject"))
                self.counts[column.name, check] += len(rows)
                if policy == "clip":
                    kept = {**kept, column.name: column.clipped(kept[column.name], outside)}
        return kept, findings

    def check_table(self, table: pa.Table) -> tuple[pa.Table, list[Finding]]:
        """Look for values that training has not seen in many conformed rows, as `check` does in tensors.

        Parameters
        ----------
        table : pyarrow.Table
            The inputs; of text that is dictionary-encoded, each distinct value is looked at once.

        Returns
        -------
        table : pyarrow.Table
            The inputs, clipped where the options say so.
        findings : list of Finding
            What was found.
        """
        kept, findings = table, []
        for place, column in enumerate(self._checks):
            values, codes = _distinct(table.column(column.name), column.kind)
            for check, outside in column.outside(values):
                if not outside.any():
                    continue
                rows = np.flatnonzero(outside if codes is None else outside.take(codes))
                if len(rows) == 0:
                    continue
                policy = getattr(self.options, check)
                findings.append(Finding(column.name, check, rows, policy == "reject"))
                self.counts[column.name, check] += len(rows)
                if policy == "clip":
                    clipped = column.clipped(values, outside)
                    kept = kept.set_column(
                        place, column.name, _column(clipped, codes, kept.schema.field(place))
                    )
        return kept, findings

    def _suspects(self, feeds: Feeds) -> list[_Check]:
        """Columns in which something is to be found, in their order; of many rows all columns."""
        if len(next(iter(feeds.values()))) > TOGETHER:
            return self._checks
        found = [*self._numbers.suspects(feeds), *self._times.suspects(feeds)]
        for column, allowed in self._strings:
            if allowed is None:
                if not column.had_missing and (feeds[column.name] == MISSING_STRING).any():
                    found.append(column)
            elif not allowed.issuperset(feeds[column.name][:, 0].tolist()):
                found.append(column)
        return [column for column in self._checks if column in found] if found else []


@dataclass(frozen=True)
class _Ranges:
    """Ranges of the columns of one sort, compared all at once."""

    columns: tuple[_Check, ...]
    low: np.ndarray[Any, Any]
    """Shape (columns,); what training has not bounded has the least number of its type."""
    high: np.ndarray[Any, Any]
    may_miss: NDArray[np.bool_]

    @classmethod
    def of(cls, columns: list[_Check]) -> _Ranges:
        times = bool(columns) and columns[0].kind == "datetime"
        kind = np.dtype(np.int64 if times else np.float64)
        least, most = (MISSING_TIME + 1, np.iinfo(np.int64).max) if times else (-np.inf, np.inf)
        bounds = [
            (least, most) if column.low is None or column.high is None else (column.low, column.high)
            for column in columns
        ]
        return cls(
            tuple(columns),
            np.array([low for low, _ in bounds], kind),
            np.array([high for _, high in bounds], kind),
            np.array([column.had_missing for column in columns], bool),
        )

    def suspects(self, feeds: Feeds) -> list[_Check]:
        """Columns with a value out of range, or a missing one where training had none."""
        if not self.columns:
            return []
        values = np.concatenate([feeds[column.name] for column in self.columns], axis=1)
        inside = (values >= self.low) & (values <= self.high)  # a missing value is in no range
        if inside.all():
            return []
        absent = np.isnan(values) if values.dtype.kind == "f" else values == MISSING_TIME
        bad = ~(inside | (absent & self.may_miss)).all(axis=0)
        return [self.columns[number] for number in np.flatnonzero(bad)]


@dataclass(frozen=True)
class _Check:
    """What training has seen of one column."""

    name: str
    kind: str
    had_missing: bool
    low: float | None = None
    high: float | None = None
    known: frozenset[str] | None = None

    @classmethod
    def of(cls, column: InputColumn, profile: Profile) -> _Check:
        low = high = known = None
        held = profile.columns.get(column.name)
        if column.kind == "numeric":
            low, high = _number(column.minimum), _number(column.maximum)
        elif column.kind == "datetime":
            low, high = _ticks(column.minimum, column.type), _ticks(column.maximum, column.type)
        elif column.kind == "string" and held is not None and held.overall.hitters.exact:
            # Of more values than a profile counts exactly, the rare ones are not known.
            known = frozenset(str(value) for value, _ in held.overall.hitters.items())
        return cls(column.name, column.kind, column.nullable, low, high, known)

    def allowed(self) -> frozenset[str] | None:
        """Texts of which there is nothing to say; None when any may come."""
        if self.known is None:
            return None
        return self.known | {MISSING_STRING} if self.had_missing else self.known - {MISSING_STRING}

    def outside(self, values: np.ndarray[Any, Any]) -> list[tuple[str, NDArray[np.bool_]]]:
        """Rows that fail each check, shape (rows,)."""
        values = values[:, 0]
        if self.kind == "string":
            absent = values == MISSING_STRING
            found = []
            if self.known is not None:
                seen = np.fromiter(map(self.known.__contains__, values.tolist()), bool, len(values))
                found.append((CATEGORY, ~seen & ~absent))
        else:
            absent = values == MISSING_TIME if self.kind == "datetime" else np.isnan(values)
            found = []
            if self.low is not None and self.high is not None:
                found.append((RANGE, ~absent & ((values < self.low) | (values > self.high))))
        return found if self.had_missing else [*found, (MISSING, absent)]

    def clipped(self, values: np.ndarray[Any, Any], outside: NDArray[np.bool_]) -> np.ndarray[Any, Any]:
        if self.kind == "string":
            held = values.copy()
            held[outside] = MISSING_STRING
            return held
        clipped = np.clip(values, self.low, self.high)
        return np.where(outside[:, np.newaxis], clipped, values).astype(values.dtype)


def _distinct(column: pa.ChunkedArray, kind: str) -> tuple[np.ndarray[Any, Any], NDArray[Any] | None]:
    """Return the tensor of a column, or of its distinct texts and a missing one, with the code of each row."""
    if not pa.types.is_dictionary(column.type):
        return feed(column, sort_of(kind)), None
    array = pa.concat_arrays(column.unify_dictionaries().chunks)
    words = pa.chunked_array([array.dictionary, pa.nulls(1, array.dictionary.type)])
    codes = array.indices.fill_null(len(array.dictionary))
    return feed(words, sort_of(kind)), codes.to_numpy()


def _column(values: np.ndarray[Any, Any], codes: NDArray[Any] | None, field: pa.Field) -> pa.ChunkedArray:
    """Turn a tensor back into a column of a table."""
    values = values[:, 0]
    if values.dtype.kind == "f":
        made = pa.array(values, mask=np.isnan(values))
    elif values.dtype.kind == "i":
        made = pa.array(values, pa.timestamp("us"), mask=values == MISSING_TIME)
        made = made.cast(pa.timestamp("us", getattr(field.type, "tz", None))).cast(field.type, safe=False)
    else:
        made = pa.array(values, pa.large_string(), mask=values == MISSING_STRING)
        made = (made if codes is None else made.take(pa.array(codes))).dictionary_encode()
    return pa.chunked_array([made])


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _ticks(value: Any, kind: str) -> int | None:
    """Microseconds since 1970 of a time in ISO format."""
    if not isinstance(value, str):
        return None
    try:
        moment = pa.scalar(value).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None
    zoned = getattr(time_type(kind), "tz", None)
    return int((moment.cast(pa.timestamp("us", zoned)) if zoned else moment).cast(pa.int64()).as_py())
