"""Rows that are equal throughout, and keys that stand twice: found in the profile's pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.rowhash import RepeatedRows, hash_rows
from headrace.profiling.outcomes import Check, Status, percent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk

Hashes = tuple["NDArray[np.uint64]", "NDArray[np.uint64]"]
"""Upper and lower halves."""
DUPLICATES = "duplicates"
MANY = 0.01
"""Share of rows that repeat another one from which it is told."""


@dataclass(frozen=True)
class RepeatFinder:
    """Counts rows that are equal in some columns.

    In whole rows missing equals missing; a key with a missing part is left out, as SQL's UNIQUE does.
    """

    columns: tuple[str, ...]
    key: bool = False
    """Whether the columns are a key."""
    finding: type[RepeatedRows] = RepeatedRows

    @property
    def name(self) -> str:
        """The name of its finding."""
        return key_name(self.columns) if self.key else DUPLICATES

    def find(self, table: pa.Table, _chunk: Chunk) -> RepeatedRows:
        """Count one chunk."""
        high, low, absent = self.hashes(table)
        if absent is None:
            return RepeatedRows().update(high, low)
        return RepeatedRows().update(high[~absent], low[~absent], skipped=int(absent.sum()))

    def hashes(
        self, table: pa.Table
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_] | None]:
        """Return halves of the hashes of all rows, and which rows have no key; None: all have one."""
        columns = [table.column(name) for name in self.columns]
        high, low = hash_rows(columns, table.num_rows)
        return high, low, _absent(columns) if self.key else None


def key_name(columns: tuple[str, ...]) -> str:
    """Name the finding of a key."""
    return f"unique {', '.join(columns)}"


def _absent(columns: list[pa.ChunkedArray]) -> NDArray[np.bool_] | None:
    absent: NDArray[np.bool_] | None = None
    for column in columns:
        values = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        nan = pa.types.is_floating(values.type)
        if values.null_count or nan:
            gone = np.asarray(pc.is_null(values, nan_is_null=nan))
            absent = gone if absent is None else absent | gone
    return absent if absent is not None and absent.any() else None


def check_duplicates(found: RepeatedRows, limit: float | None, columns: int) -> Check:
    """Tell how many rows repeat another one; fails above `limit`, and without one is told from `MANY` on."""
    result = found.result()
    rows, extra, error = result["rows"], result["extra"], result["error"]
    share = extra / rows if rows else 0.0
    certain = (extra - 2 * error) / rows if rows else 0.0
    status: Status = "pass"
    if limit is not None and share > limit:
        # an estimate that might as well be within the limit does not fail
        status = "fail" if certain > limit else "warn"
    elif limit is None and certain > MANY:
        status = "warn"
    detail = f"equal in all {columns} columns"
    if limit is not None:
        detail += f"; at most {percent(limit)}"
    return Check(
        DUPLICATES,
        "",
        status,
        _figure(result, "repeat another one", share),
        exact=result["exact"],
        detail=detail,
        facts=result | {"columns": columns},
    )


def check_key(found: RepeatedRows, columns: tuple[str, ...]) -> Check:
    """Fail when a key stands twice."""
    result = found.result()
    share = result["extra"] / result["rows"] if result["rows"] else 0.0
    detail = "expected no key twice" if len(columns) > 1 else "expected no value twice"
    if result["skipped"]:
        detail += f"; {result['skipped']:,} rows without one are left out"
    return Check(
        "unique",
        ", ".join(columns),
        "fail" if result["extra"] else "pass",
        _figure(result, "have a key that stood before", share),
        exact=result["exact"],
        detail=detail,
        facts=result | {"columns": list(columns)},
    )


def _figure(result: dict[str, Any], what: str, share: float) -> str:
    rows, extra = result["rows"], result["extra"]
    if result["exact"]:
        return (
            f"{extra:,} of {rows:,} rows {what} ({percent(share)})"
            if extra
            else f"none of {rows:,} rows {what}"
        )
    held = f"1 in {round(1 / result['share_held'])}"
    if not extra:
        # with none of k in a sample of share p, fewer than 3 / p with 95 % confidence (rule of three)
        bound = round(3 / result["share_held"])
        return f"none found among {held} of {rows:,} rows; with 95 % confidence fewer than {bound:,} {what}"
    return f"about {extra:,} ± {round(result['error']):,} of {rows:,} rows {what} ({percent(share)}), from {held}"


def among_hashes(known: Hashes, asked: Hashes) -> NDArray[np.bool_]:
    """Say which hashes are among those known.

    Parameters
    ----------
    known : pair of ndarray of uint64, shape (hashes,)
        Halves, ascending, from `RepeatedRows.repeated`.
    asked : pair of ndarray of uint64, shape (rows,)
        Halves of the hashes of some rows.
    """
    if not len(known[0]):
        return np.zeros(len(asked[0]), dtype=bool)
    # that two repeated rows share an upper half has a chance of 2^-64 for each pair
    at = np.minimum(np.searchsorted(known[0], asked[0]), len(known[0]) - 1)
    same: NDArray[np.bool_] = (known[0][at] == asked[0]) & (known[1][at] == asked[1])
    return same
