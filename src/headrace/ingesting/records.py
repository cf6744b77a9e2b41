"""Where records of delimited text end: quotes, embedded newlines, stray quotes, as Arrow's parser sees them (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NEWLINE, RETURN = 10, 13


@dataclass(frozen=True)
class Dialect:
    """How fields are told apart."""

    delimiter: str = ","
    """Between fields."""
    quote: str = '"'
    """Around fields; empty for none."""


def record_ends(block: bytes, dialect: Dialect) -> npt.NDArray[np.int64]:
    """Find where records end in a block that begins with a record.

    Parameters
    ----------
    block : bytes
        In an encoding in which delimiter, quote and newline are single bytes that are part of no other character.
    dialect : Dialect
        How fields are told apart.

    Returns
    -------
    (n,) int64
        Offset just after the newline of each complete record, in order; empty lines count as records.

    Notes
    -----
    A quote opens a field only at its start. When every other quote, counted from the first, stands at the start of a
    field or directly after a quote, and each of the rest before the end of a field or directly before a quote, then, by
    induction over the quotes, a newline is in a field just when an odd number of quotes stand before it. Blocks with
    stray quotes, where that fails, are walked record by record.
    """
    bytes_ = np.frombuffer(block, dtype=np.uint8)
    ends = _newlines(block, bytes_)
    if not dialect.quote or dialect.quote.encode() not in block:
        return ends
    quotes = np.flatnonzero(bytes_ == ord(dialect.quote))
    if _well_formed(bytes_, quotes, ord(dialect.delimiter)):
        return np.asarray(ends[np.searchsorted(quotes, ends) % 2 == 0])
    return _walk(block, dialect)


def last_end(block: bytes, dialect: Dialect) -> int:
    """Offset just after the last complete record of a block, 0 when there is none; see `record_ends`."""
    if b"\r" not in block and (not dialect.quote or dialect.quote.encode() not in block):
        return block.rfind(b"\n") + 1
    ends = record_ends(block, dialect)
    return int(ends[-1]) if len(ends) else 0


def _newlines(block: bytes, bytes_: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Offsets after each LF, CR LF or lone CR; a CR at the very end may be the half of a CR LF and is none."""
    ends = np.flatnonzero(bytes_ == NEWLINE) + 1
    if b"\r" in block:
        returns = np.flatnonzero(bytes_[:-1] == RETURN)
        lone = returns[bytes_[returns + 1] != NEWLINE] + 1
        if len(lone):
            ends = np.sort(np.concatenate([ends, lone]))
    return ends


def _well_formed(bytes_: npt.NDArray[np.uint8], quotes: npt.NDArray[np.int64], delimiter: int) -> bool:
    opening, closing = quotes[::2], quotes[1::2]
    before = bytes_[opening - 1]  # of the first byte this wraps to the last, which is set right below
    starts = (opening == 0) | (before == delimiter) | (before == NEWLINE) | (before == RETURN)
    starts[1:] |= opening[1:] == closing[: len(opening) - 1] + 1
    after_at = np.minimum(closing + 1, len(bytes_) - 1)
    after = bytes_[after_at]
    stops = (closing + 1 == len(bytes_)) | (after == delimiter) | (after == NEWLINE) | (after == RETURN)
    following = opening[1 : len(closing) + 1]
    stops[: len(following)] |= following == closing[: len(following)] + 1
    return bool(starts.all() and stops.all())


def _walk(block: bytes, dialect: Dialect) -> npt.NDArray[np.int64]:
    quote, delimiter = re.escape(dialect.quote.encode()), re.escape(dialect.delimiter.encode())
    plain = rb"[^" + delimiter + rb"\r\n]*+"
    quoted = quote + rb"(?:[^" + quote + rb"]++|" + quote + quote + rb")*+" + quote + plain
    field = rb"(?:" + quoted + rb"|(?!" + quote + rb")" + plain + rb")"
    record = re.compile(field + rb"(?:" + delimiter + field + rb")*+(?:\n|\r\n|\r(?=[^\n]))")
    ends, place = [], 0
    while (match := record.match(block, place)) is not None:
        place = match.end()
        ends.append(place)
    return np.array(ends, dtype=np.int64)
