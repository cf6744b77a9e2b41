"""Everything that is counted of one column in one group of rows."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from headrace.accumulators.ascending import look, runs
from headrace.accumulators.detail import STORED, Detail
from headrace.accumulators.distinct import DistinctCount
from headrace.accumulators.documents import encode_number
from headrace.accumulators.hitters import EXACT, HeavyHitters
from headrace.accumulators.moments import Moments
from headrace.accumulators.quantiles import QuantileSketch

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["numeric", "boolean", "string", "datetime", "other"]

_COUNTS = ("rows", "nulls", "nans", "pos_infs", "neg_infs", "zeros", "negatives")
_PARTS: dict[str, type[Any]] = {
    "moments": Moments,
    "lengths": Moments,
    "quantiles": QuantileSketch,
    "hitters": HeavyHitters,
    "distinct": DistinctCount,
}


@dataclass(frozen=True)
class ColumnSummary:
    """What a column holds in a group of rows.

    All but the counts of NaN and infinities is of finite values. A numeric column takes 16 to 250 kB
    (quantiles 16 to 50, hitters up to 160, distinct 32), about 40 kB when its values hardly repeat.

    Attributes
    ----------
    kind : {"numeric", "boolean", "string", "datetime", "other"}
        Booleans are counted as the numbers 0 and 1, dates and timestamps as integers in the unit of the column.
        Of "other" (nested, binary, times of day, durations) only rows and nulls are counted.
    rows, nulls, nans, pos_infs, neg_infs : int
        Rows, missing, NaN, infinite.
    zeros, negatives : int
        Finite values equal to and below zero.
    integers_only : bool
        Whether no finite value has a fraction; True of no values.
    moments : Moments or None
        Of the finite values; None for strings and other.
    lengths : Moments or None
        Lengths of strings, in characters; None for what is not a string.
    quantiles : QuantileSketch or None
        None for strings, booleans and other.
    hitters : HeavyHitters
        Frequent values. Strings over 256 bytes are held as their first 64 characters and their hash.
    distinct : DistinctCount
        Distinct values.
    """

    kind: Kind
    rows: int = 0
    nulls: int = 0
    nans: int = 0
    pos_infs: int = 0
    neg_infs: int = 0
    zeros: int = 0
    negatives: int = 0
    integers_only: bool = True
    moments: Moments | None = None
    lengths: Moments | None = None
    quantiles: QuantileSketch | None = None
    hitters: HeavyHitters = field(default_factory=HeavyHitters)
    distinct: DistinctCount = field(default_factory=DistinctCount)

    @classmethod
    def empty(cls, kind: Kind) -> Self:
        """Summarise no rows."""
        return cls(
            kind,
            moments=None if kind in {"string", "other"} else Moments(),
            lengths=Moments() if kind == "string" else None,
            quantiles=QuantileSketch() if kind in {"numeric", "datetime"} else None,
        )

    @classmethod
    def of_sorted(cls, kind: Kind, values: NDArray[Any], *, nulls: int = 0) -> Self:
        """Summarise numbers in ascending order, NaN last.

        Parameters
        ----------
        kind : {"numeric", "datetime"}
        values : ndarray of numbers, shape (n,)
            What is not null; keeps its dtype. Not held on to.
        nulls : int
            Rows without a value.
        """
        rows = nulls + len(values)
        low, high, numbers, distinct, zeros, negatives = look(values)
        odd: dict[str, Any] = {"nans": len(values) - numbers, "neg_infs": low, "pos_infs": numbers - high}
        finite = values[low:high]
        if not len(finite):
            return replace(cls.empty(kind), rows=rows, nulls=nulls, **odd)
        keys = finite
        if distinct < len(finite) // 2 or distinct <= EXACT:
            starts, counts = runs(finite, distinct)
            keys = finite.take(starts)
        if distinct <= EXACT:
            hitters = HeavyHitters.of(keys, counts)
        else:
            hitters = HeavyHitters.of_sorted(finite, distinct)
        few = distinct <= min(EXACT, len(finite) // 4)
        return cls(
            kind,
            rows=rows,
            nulls=nulls,
            zeros=zeros,
            negatives=negatives,
            integers_only=_integers_only(keys),
            moments=Moments.of(keys, counts, ascending=True) if few else Moments.of(finite, ascending=True),
            quantiles=QuantileSketch.of_sorted(finite),
            hitters=hitters,
            distinct=DistinctCount.of_numbers(keys, distinct=distinct),
            **odd,
        )

    @classmethod
    def of_counts(cls, kind: Kind, keys: NDArray[Any], counts: NDArray[np.int64], *, nulls: int = 0) -> Self:
        """Summarise integers from their counts: the same as `of_sorted` of the repeated keys.

        Parameters
        ----------
        kind : {"numeric", "datetime"}
        keys : ndarray of integers, shape (c,)
            Ascending and distinct; at most `EXACT`, and at most a quarter of the rows.
        counts : ndarray of int64, shape (c,)
            Rows of each; positive.
        nulls : int
            Rows without a value.
        """
        rows = int(counts.sum())
        assert 0 < len(keys) <= min(EXACT, rows // 4)
        zero = keys.dtype.type(0)
        below, upto = (int(np.searchsorted(keys, zero, side=side)) for side in ("left", "right"))
        return cls(
            kind,
            rows=nulls + rows,
            nulls=nulls,
            zeros=int(counts[below:upto].sum()),
            negatives=int(counts[:below].sum()),
            moments=Moments.of(keys, counts, ascending=True),
            quantiles=QuantileSketch.of_counts(keys, counts),
            hitters=HeavyHitters.of(keys, counts),
            distinct=DistinctCount.of_numbers(keys, distinct=len(keys)),
        )

    @classmethod
    def of_booleans(cls, false: int, true: int, *, nulls: int = 0) -> Self:
        """Summarise booleans from their counts."""
        counts = np.array([false, true])
        present = np.flatnonzero(counts)
        values = present.astype(np.uint8)
        return replace(
            cls.empty("boolean"),
            rows=nulls + false + true,
            nulls=nulls,
            zeros=false,
            moments=Moments.of(values, counts[present]),
            hitters=HeavyHitters.of(values, counts[present]),
            distinct=DistinctCount.of_numbers(values),
        )

    @classmethod
    def of_strings(
        cls,
        values: tuple[str, ...] | list[str],
        counts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        hashes: NDArray[np.uint64],
        *,
        undercount: int = 0,
        nulls: int = 0,
    ) -> Self:
        """Summarise strings from the counts of distinct ones.

        Parameters
        ----------
        values : sequence of str
            The strings that occur more than `undercount` times.
        counts, lengths, hashes : ndarray, shape (c,)
            Rows, characters and hash of *every* string that occurs.
        undercount : int
            What Misra and Gries' rule subtracts; see `HeavyHitters.of_sorted`.
        nulls : int
            Rows without a value.
        """
        hitters = HeavyHitters.of(values, counts[counts > undercount] - undercount)
        rows = int(counts.sum())
        if undercount:
            hitters = replace(hitters, error=hitters.error + undercount, n=rows)
        return cls(
            "string",
            rows=nulls + rows,
            nulls=nulls,
            lengths=Moments.of(lengths, counts),
            hitters=hitters,
            distinct=DistinctCount.of_hashes(hashes),
        )

    @property
    def missing(self) -> int:
        """Nulls and NaN."""
        return self.nulls + self.nans

    @property
    def valid(self) -> int:
        """Rows that are neither null nor NaN."""
        return self.rows - self.missing

    def merge(self, other: Self) -> Self:
        """Return the summary of both; the kinds must be the same."""
        assert self.kind == other.kind
        merged: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        for name in _PARTS:
            left, right = getattr(self, name), getattr(other, name)
            merged[name] = None if left is None else left.merge(right)
        return replace(self, integers_only=self.integers_only and other.integers_only, **merged)

    def compact(self, detail: Detail = STORED) -> Self:
        """Return the summary with sketches collapsed, by default for storing, within their stated errors."""
        return replace(
            self,
            quantiles=self.quantiles.compact(detail.points) if self.quantiles else None,
            hitters=self.hitters.compact(detail.counters, detail.counters),
            distinct=self.distinct.compact(detail.hashes),
        )

    def result(self) -> dict[str, Any]:
        """Return what people want to read, as finite JSON: counts, moments, percentiles, top values."""
        shown: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS}
        shown |= {"missing": self.missing, "missing_share": self.missing / self.rows if self.rows else 0.0}
        if self.moments is not None:
            shown |= {"integers_only": self.integers_only, **self.moments.result()}
            del shown["n"]
        if self.lengths is not None:
            shown |= {
                f"length_{name}": getattr(self.lengths, name) for name in ("mean", "minimum", "maximum")
            }
        shown = {name: encode_number(value) for name, value in shown.items()}
        if self.quantiles is not None:
            percentiles = {name: encode_number(value) for name, value in self.quantiles.result().items()}
            shown |= {"rank_error": percentiles.pop("rank_error"), "quantiles": percentiles}
        if self.kind != "other":
            shown |= {
                "distinct": round(self.distinct.estimate()),
                "distinct_exact": self.distinct.exact,
                "distinct_relative_error": self.distinct.relative_error,
                "top": [list(pair) for pair in self.hitters.items()[:20]],
                "top_exact": self.hitters.exact,
                "top_error": self.hitters.error,
            }
        return shown

    def state(self) -> dict[str, Any]:
        """Everything held, as finite JSON."""
        held: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            held[item.name] = value.state() if item.name in _PARTS and value is not None else value
        return held

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        held = dict(state)
        for name, part in _PARTS.items():
            if held[name] is not None:
                held[name] = part.from_state(held[name])
        return cls(**held)


def _integers_only(finite: NDArray[Any]) -> bool:
    """Whether no value has a fraction; looks at a few before it looks at all."""
    if finite.dtype.kind != "f":
        return True
    few = finite[:: max(1, len(finite) // 16)].tolist()
    return all(value.is_integer() for value in few) and bool((finite == np.floor(finite)).all())
