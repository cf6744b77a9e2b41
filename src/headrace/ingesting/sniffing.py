"""What delimited text looks like: its encoding, delimiter and header, from its first bytes (pure)."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.errors import DataError
from headrace.ingesting.columns import unique_names
from headrace.ingesting.records import Dialect, record_ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.ingesting.options import FilesSource

HEAD = 1 << 20
"""Bytes that are looked at."""
LOOKED_AT = 1 << 16
"""Bytes in which the delimiter is looked for."""
DELIMITERS = (",", ";", "\t", "|")
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
PLAIN = {"utf-8", "utf-8-sig", "ascii"}


@dataclass(frozen=True)
class Shape:
    """How one file is written."""

    encoding: str
    """Python's name of the encoding."""
    dialect: Dialect
    """How fields are told apart."""
    names: tuple[str, ...]
    """Columns in the file's order."""
    begin: int
    """Bytes of UTF-8 before the first row."""
    line: int
    """Line of the first row, from 1."""


def encoding_of(head: bytes, declared: str | None, where: str) -> str:
    """Find the encoding: as declared, by a byte order mark, UTF-8 when the bytes are, else Windows' Latin-1.

    Examples
    --------
    >>> encoding_of("Zürich".encode("latin-1"), None, ""), encoding_of("Zürich".encode(), None, "")
    ('cp1252', 'utf-8')
    """
    if declared is not None:
        try:
            name = codecs.lookup(declared).name
        except LookupError:
            raise DataError(
                f"unknown encoding {declared!r}", where=where, mend="give source.encoding, such as latin-1"
            ) from None
        return "utf-8-sig" if name == "utf-8" else name
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    for name in ("utf-8", "cp1252"):
        try:
            codecs.getincrementaldecoder(name)().decode(head, final=False)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"


def in_utf8(pieces: Iterator[bytes], encoding: str, where: str) -> Iterator[bytes]:
    """Turn a stream of bytes into UTF-8 without a byte order mark.

    Raises
    ------
    DataError
        The bytes are not of the encoding (UTF-8 is passed through, its bad bytes are found row by row).
    """
    if encoding in PLAIN:
        first = True
        for piece in pieces:
            yield piece.removeprefix(codecs.BOM_UTF8) if first else piece
            first = False
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for piece in pieces:
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not {encoding} ({error.reason})", where=where, mend="give source.encoding"
        ) from None


def shape_of(head: bytes, encoding: str, source: FilesSource, kind: str, where: str) -> Shape:
    """Find delimiter and header in the first bytes, already in UTF-8.

    Raises
    ------
    DataError
        Nothing is there, or names were given of another number of columns.
    """
    begin = 0
    for _ in range(source.skip):
        begin = head.find(b"\n", begin) + 1
        if not begin:
            raise DataError(f"has no {source.skip} lines to skip", where=where, mend="check source.skip")
    line = source.skip + 1
    delimiter = source.delimiter or ("\t" if kind == "tsv" else _delimiter(head[begin:], source.quote))
    dialect = Dialect(delimiter, source.quote)
    body = head[begin:] if head.endswith((b"\n", b"\r")) else head[begin:] + b"\n"
    start = 0
    for end in record_ends(body, dialect):
        record = body[start:end]
        if record.strip(b"\r\n"):
            break
        start = int(end)
    else:
        raise DataError("holds no row", where=where, mend="check source.url, source.skip and source.quote")
    fields = _fields(record, dialect)
    names = tuple(unique_names(fields))
    if source.names:
        if len(source.names) != len(fields):
            raise DataError(
                f"{len(fields)} columns, but {len(source.names)} names",
                where=where,
                mend="check source.names",
            )
        names = source.names
    elif not source.header:
        names = tuple(f"column_{number}" for number in range(1, len(fields) + 1))
    if source.header:
        start += len(record)
    return Shape(encoding, dialect, names, begin + start, line + body.count(b"\n", 0, start))


def _fields(record: bytes, dialect: Dialect) -> list[str]:
    text = record.decode("utf-8", "replace").rstrip("\r\n")
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=quoting,
    )
    return next(rows, [])


def _delimiter(head: bytes, quote: str) -> str:
    """Choose what gives the same number of fields, more than one, in most of the first records."""
    best, most = ",", (0.0, 0)
    head = head[:LOOKED_AT]
    for delimiter in DELIMITERS:
        dialect = Dialect(delimiter, quote)
        ends = record_ends(head, dialect)[:100]
        starts = [0, *ends[:-1]] if len(ends) else []
        widths = [len(_fields(head[int(a) : int(b)], dialect)) for a, b in zip(starts, ends, strict=True)]
        if not widths:
            widths = [len(_fields(head, dialect))]
        width, times = Counter(widths).most_common(1)[0]
        if width > 1 and (times / len(widths), width) > most:
            best, most = delimiter, (times / len(widths), width)
    return best
