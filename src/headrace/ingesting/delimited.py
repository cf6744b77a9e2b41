"""Delimited text in blocks of whole records: Arrow's parser at full speed, and the bad rows of blocks that fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from headrace.errors import DataError
from headrace.ingesting.batches import Batch, settle
from headrace.ingesting.columns import FALSE, TRUE
from headrace.ingesting.quarantine import BadRow
from headrace.ingesting.records import last_end, record_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.ingesting.columns import Layout
    from headrace.ingesting.records import Dialect

BLOCK = 8 << 20
"""Bytes of a block."""
MOST = 16
"""Blocks that one record may span."""


@dataclass(frozen=True)
class Reading:
    """All that a block needs to be read, whatever block it is."""

    names: tuple[str, ...]
    """Columns of the file, in its order."""
    layout: Layout
    """Columns that are wanted, with their types."""
    dialect: Dialect
    """How fields are told apart."""
    nulls: tuple[str, ...]
    """Texts that mean a missing value."""

    def parse(self, block: bytes) -> pa.Table:
        """Read a block that holds whole records, all or nothing.

        Columns that Arrow's reader cannot convert by itself come as strings, those that the file lacks as nulls.

        Raises
        ------
        pyarrow.ArrowInvalid
            A row has another number of fields, or a value is not of its type.
        """
        convert = arrow_csv.ConvertOptions(
            column_types={
                column.name: column.type if column.direct else pa.string() for column in self.layout.columns
            },
            include_columns=list(self.layout.names),
            include_missing_columns=True,
            null_values=list(self.nulls),
            strings_can_be_null=True,
            true_values=[*TRUE, "1"],
            false_values=[*FALSE, "0"],
        )
        return arrow_csv.read_csv(
            pa.py_buffer(block),
            read_options=arrow_csv.ReadOptions(
                column_names=list(self.names),
                block_size=max(len(block) + 1, 2),
                use_threads=len(block) > 1 << 20,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self.dialect.delimiter,
                quote_char=self.dialect.quote or False,
                newlines_in_values=bool(self.dialect.quote),
            ),
            convert_options=convert,
        )


def whole_records(
    pieces: Iterator[bytes], dialect: Dialect, where: str, block: int = BLOCK
) -> Iterator[bytes]:
    """Cut a stream of bytes into blocks of whole records; the last may end without a newline.

    Raises
    ------
    DataError
        A record is longer than many blocks, as when a quote is never closed.
    """
    rest = b""
    for piece in pieces:
        data = rest + piece if rest else piece
        if len(data) < block:
            rest = data
            continue
        end = last_end(data, dialect)
        if end:
            yield data[:end]
        elif len(data) > MOST * block:
            raise DataError(
                f"no record ends within {len(data) >> 20} MiB",
                where=where,
                mend="is a quote never closed? Give source.quote: '' when quotes have no meaning",
            )
        rest = data[end:]
    if rest:
        yield rest


def read_block(block: bytes, reading: Reading, line: int) -> Batch:
    """Read a block of whole records; rows that do not parse come out as bad rows.

    Parameters
    ----------
    block : bytes
        Whole records in UTF-8.
    reading : Reading
        How.
    line : int
        Line of the file where the block begins, from 1.
    """
    try:
        table = reading.parse(block)
    except pa.ArrowInvalid:
        return _search(block, reading, line)
    if all(column.direct for column in reading.layout.columns):
        return Batch(table)

    def locate() -> Callable[[int], tuple[int, str]]:
        records = _Records.of(block, reading.dialect, line)
        return lambda row: (records.line(row), records.text(row))

    return settle(table, reading.layout, locate)


def _search(block: bytes, reading: Reading, line: int) -> Batch:
    """Halve a block until the records that do not parse stand alone: what is kept is what `Reading.parse` takes."""
    records = _Records.of(block, reading.dialect, line)
    good: list[tuple[int, int, pa.Table]] = []
    bad: list[BadRow] = []
    waiting = [(0, len(records.starts))]
    while waiting:
        low, high = waiting.pop()
        if low == high:
            continue
        if high == len(records.starts) and records.open:
            bad.append(BadRow(records.line(high - 1), "a quote is never closed", records.text(high - 1)))
            records.close()
            waiting.append((low, high - 1))
            continue
        try:
            good.append((low, high, reading.parse(records.bytes(low, high))))
        except pa.ArrowInvalid as error:
            if high - low == 1:
                bad.append(BadRow(records.line(low), reason_of(error, reading), records.text(low)))
            else:
                middle = (low + high) // 2
                waiting += [(middle, high), (low, middle)]
    good.sort(key=lambda part: part[0])
    rows = np.concatenate([np.arange(low, high) for low, high, _ in good] or [np.array([], dtype=np.int64)])
    empty = _text_where_indirect(reading.layout)
    table = pa.concat_tables([empty, *(part for _, _, part in good)])

    def locate() -> Callable[[int], tuple[int, str]]:
        return lambda row: (records.line(int(rows[row])), records.text(int(rows[row])))

    settled = settle(table, reading.layout, locate)
    return Batch(settled.table, tuple(sorted((*bad, *settled.bad), key=lambda each: each.line)))


def _text_where_indirect(layout: Layout) -> pa.Table:
    return pa.schema([
        (column.name, column.type if column.direct else pa.string()) for column in layout.columns
    ]).empty_table()  # fmt: skip


def reason_of(error: pa.ArrowInvalid, reading: Reading) -> str:
    """Tell in one line why Arrow did not take a single record.

    Examples
    --------
    >>> reason_of(pa.ArrowInvalid("CSV parse error: Row #1: Expected 2 columns, got 3: 1,2,3"), None)
    '3 fields, 2 expected'
    """
    text = str(error)
    if "Expected " in text and " columns, got " in text:
        wanted, _, rest = text.partition("Expected ")[2].partition(" columns, got ")
        return f"{rest.partition(':')[0]} fields, {wanted} expected"
    if "In CSV column #" in text:
        number = int(text.partition("In CSV column #")[2].partition(":")[0])
        what = text.rpartition("CSV conversion error to ")[2]
        # Columns are counted as they are wanted where the file's order is another.
        name = reading.names[number] if number < len(reading.names) else f"column {number}"
        return f"{name}: {' '.join(what.split())[:200]}"
    return " ".join(text.split())[:200]


class _Records:
    """The records of a block that are not empty, with their lines."""

    def __init__(
        self, block: bytes, starts: np.ndarray, stops: np.ndarray, lines: np.ndarray, open_: bool
    ) -> None:
        self.block = block
        self.starts = starts
        self.stops = stops
        self.lines = lines
        self.open = open_

    @classmethod
    def of(cls, block: bytes, dialect: Dialect, line: int) -> _Records:
        ends = record_ends(block, dialect)
        complete = int(ends[-1]) if len(ends) else 0
        open_ = False
        if complete < len(block):  # what is left has no newline, or has one in a quote that is never closed
            tail = block[complete:]
            open_ = len(record_ends(tail.rstrip(b"\r\n") + b"\n", dialect)) == 0
            ends = np.append(ends, len(block))
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(ends)]
        bytes_ = np.frombuffer(block, dtype=np.uint8)
        newlines = np.flatnonzero(bytes_ == 10)
        lines = line + np.searchsorted(newlines, starts)
        # Arrow passes over empty lines
        first = bytes_[starts]
        kept = ~((first == 10) | (first == 13))
        return cls(block, starts[kept], ends[kept], lines[kept], open_)

    def close(self) -> None:
        """Leave the last record out."""
        self.open = False
        self.starts, self.stops, self.lines = self.starts[:-1], self.stops[:-1], self.lines[:-1]

    def bytes(self, low: int, high: int) -> bytes:
        return self.block[int(self.starts[low]) : int(self.stops[high - 1])]

    def line(self, row: int) -> int:
        return int(self.lines[row])

    def text(self, row: int) -> str:
        return self.bytes(row, row + 1).rstrip(b"\r\n").decode("utf-8", "backslashreplace")


def string_sample(
    block: bytes, names: tuple[str, ...], dialect: Dialect, nulls: tuple[str, ...], rows: int
) -> pa.Table:
    """Read the first rows of a block as text, passing over those with another number of fields."""
    ends = record_ends(block if block.endswith((b"\n", b"\r")) else block + b"\n", dialect)
    if len(ends):
        block = block[: int(ends[min(rows, len(ends)) - 1])]
    table = arrow_csv.read_csv(
        pa.py_buffer(block or b"\n"),
        read_options=arrow_csv.ReadOptions(column_names=list(names), block_size=len(block) + 2),
        parse_options=arrow_csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            newlines_in_values=bool(dialect.quote),
            invalid_row_handler=lambda _: "skip",
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), null_values=list(nulls), strings_can_be_null=True
        ),
    )
    columns = [_readable(column) for column in table.columns]
    return pa.table(columns, names=list(names))


def _readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if value is None else value.decode("utf-8", "replace") for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
