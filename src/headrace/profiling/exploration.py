"""Exploration: what finders learnt of pairs, time and missing values, ready to be drawn (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.accumulators.rowsample import RowSample
from headrace.errors import InputError
from headrace.profiling.explorers import (
    ALL,
    AbsenceFinder,
    ChosenRows,
    Explorers,
    ProductFinder,
    SampleFinder,
    TrendFinder,
    columns_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from headrace.accumulators.absences import Absences
    from headrace.accumulators.gram import Gram
    from headrace.accumulators.trends import Trend
    from headrace.engine.splits import Splitter

SAMPLE_ROWS = 10_000
"""Rows of the sample at most."""
SAMPLE_CELLS = 2_000_000
"""Values of the sample at most: 16 MB."""
PRODUCT_ROWS = 1_000_000
"""Rows up to which cross products are of all rows; of more, about this many are chosen by key."""
RUN_ROWS = 1_000_000
"""Rows up to which a run looks at all its training rows; of more, about this many are chosen by key."""
SAMPLE_COLUMNS, PRODUCT_COLUMNS, ABSENCE_COLUMNS, TREND_COLUMNS = 400, 48, 200, 40
"""Columns that are looked at at most, the target and then the first ones."""


def finders_for(
    schema: pa.Schema,
    *,
    rows: int | None = None,
    target: str | None = None,
    time: str | None = None,
    splitter: Splitter | None = None,
) -> Explorers:
    """Choose what to look for.

    Parameters
    ----------
    schema : pyarrow.Schema
        Columns of the pass.
    rows : int, optional
        Rows in all; None when a filter keeps an unknown number of them.
    target : str, optional
        The column to predict.
    time : str, optional
        The column of which trends are followed; the first one of dates or timestamps when left out.
    splitter : Splitter, optional
        Of a run: then only the training rows are looked at, and of very many only a share.

    Raises
    ------
    InputError
        When `time` is not a column of dates or timestamps.
    """
    kinds = columns_of(schema)
    names = list(kinds)
    if target is not None and target in kinds:
        names = [target, *(name for name in names if name != target)]
    times = [name for name in kinds if kinds[name] == "datetime"]
    if time is not None and time not in times:
        known = f"columns with times are {', '.join(times[:8])}" if times else "the data have no times"
        raise InputError("is not a column of dates or timestamps", where=f"time {time!r}", mend=known)
    time = time or (times[0] if times else None)
    sampled = tuple(names[:SAMPLE_COLUMNS])
    found: list[Any] = []
    if sampled:
        size = min(SAMPLE_ROWS, SAMPLE_CELLS // len(sampled))
        # More rows than are kept come near, so that fewer than wanted are as good as impossible.
        found.append(SampleFinder(sampled, size, _most(rows, (4 if splitter else 2) * size)))
        found.append(AbsenceFinder(tuple(names[:ABSENCE_COLUMNS])))
    numeric = tuple(name for name in names if kinds[name] in {"numeric", "boolean"})[:PRODUCT_COLUMNS]
    if len(numeric) > 1:
        found.append(ProductFinder(numeric, _most(rows, PRODUCT_ROWS)))
    if time is not None:
        watched = tuple(name for name in names if name != time)[:TREND_COLUMNS]
        found.append(TrendFinder(time, watched, target if target in kinds else None))
    if splitter is not None and found:
        return (ChosenRows(tuple(found), splitter, _most(rows, RUN_ROWS)),)
    return tuple(found)


def _most(rows: int | None, wanted: int) -> int:
    """Return the largest key of about `wanted`, or up to an eighth more, out of `rows` rows."""
    if rows is None:
        return ALL
    # By the first bits alone, so that a few rows more or less change nothing: what is known of chunks stays good.
    rest = max(0, rows.bit_length() - 4)
    rows = rows >> rest << rest
    if rows <= wanted:
        return ALL
    return int(wanted / rows * 2.0**64)


@dataclass(frozen=True)
class Exploration:
    """What was found beside the profile.

    Attributes
    ----------
    names : tuple of str
        Columns of the sample.
    sample : RowSample
        Rows as `SampleFinder` keeps them.
    products : Gram or None
        Cross products of numeric columns.
    products_exact : bool
        They are of all rows, not of about a million.
    absences : Absences or None
    trend : Trend or None
    time : str or None
        The column that `trend` follows.
    """

    names: tuple[str, ...]
    sample: RowSample
    products: Gram | None = None
    products_exact: bool = True
    rows_exact: bool = True
    absences: Absences | None = None
    trend: Trend | None = None
    time: str | None = None

    @classmethod
    def of(cls, findings: Mapping[str, Any], finders: Explorers) -> Exploration:
        """Gather the findings of the finders that were sent."""
        names: tuple[str, ...] = ()
        time, exact, whole = None, True, True
        explorers: list[Any] = []
        for finder in finders:
            if isinstance(finder, ChosenRows):
                findings, whole = findings[finder.name].found, finder.most == ALL
                explorers += finder.explorers
            else:
                explorers.append(finder)
        for finder in explorers:
            if isinstance(finder, SampleFinder):
                names = finder.columns
            elif isinstance(finder, ProductFinder):
                exact = finder.most == ALL
            elif isinstance(finder, TrendFinder):
                time = finder.time
        return cls(
            names,
            findings.get("explored sample", RowSample(len(names), 0)),
            findings.get("explored products"),
            exact and whole,
            whole,
            findings.get("explored absences"),
            findings.get("explored trend"),
            time,
        )

    @property
    def sample_rows(self) -> int:
        """Rows of the sample."""
        return len(self.sample.keys)

    def column(self, name: str) -> NDArray[np.float64]:
        """Return the sampled values of a column, shape (sample rows,), in the order of the keys: a random one."""
        return np.asarray(self.sample.values[:, self.names.index(name)])
