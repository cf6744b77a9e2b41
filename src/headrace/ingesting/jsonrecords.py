"""Records of JSON text: one a line, or the elements of an array at its top or under keys; bounded memory (pure)."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.errors import DataError
from headrace.ingesting.batches import flat
from headrace.ingesting.quarantine import BadRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST = 128 << 20
"""Characters that one record may have."""
DECODER = json.JSONDecoder()
SPACE = re.compile(r"[ \t\r\n]*")
MARK = re.compile(r'"(?:[^"\\\n]|\\[^\n]?)*+(?:"|\n|(\Z))|[\[\]{},]')
"""A string, which ends with its line at the latest, or a sign of structure; group 1 when the text ends inside a string."""
HALF = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")
"""What may be half of a surrogate pair, or a byte that is not UTF-8."""


@dataclass
class Records:
    """Some records of a file."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Fields of each, those of objects in objects named by their paths."""
    lines: list[int] = field(default_factory=list)
    """Where each begins, from 1."""
    bad: list[BadRow] = field(default_factory=list)
    """What is no record."""

    def add(self, line: int, value: Any, raw: str, reason: str = "") -> None:
        """Take a value, or why there is none."""
        row: dict[str, Any] = {}
        try:
            reason = reason or _reason(value, raw)
            row = row if reason else flat(value)
        except RecursionError as error:
            reason = _told(error)
        if reason:
            shown = raw.encode(errors="surrogateescape").decode(errors="backslashreplace")
            self.bad.append(BadRow(line, reason, shown))
        else:
            self.rows.append(row)
            self.lines.append(line)


def line_records(blocks: Iterable[bytes]) -> Iterator[Records]:
    """Read blocks of whole lines in UTF-8, one record each; empty lines are passed over."""
    line = 0
    for block in blocks:
        found = Records()
        for text in block.splitlines():
            line += 1
            raw = text.strip().decode(errors="surrogateescape")
            if not raw:
                continue
            try:
                found.add(line, json.loads(raw), raw)
            except (ValueError, RecursionError) as error:
                found.add(line, None, raw, _told(error))
        yield found


def array_records(pieces: Iterable[bytes], path: str, where: str) -> Iterator[Records]:
    """Read the elements of an array, each as soon as it is whole; those that are no records are bad rows.

    Parameters
    ----------
    pieces : iterable of bytes
        The file in UTF-8, from its beginning.
    path : str
        Keys that lead to the array, such as ``data.items``; empty when it is the file.
    where : str
        The file, for errors.

    Yields
    ------
    Records
        What was whole in each piece.

    Raises
    ------
    DataError
        There is no array, the text ends before it does, or brackets do not match, so that no end of a record is found.
    """
    text = _Window(iter(pieces), where)
    _enter(text, path)
    found, read = Records(), text.pieces
    while text.peek() != "]":
        line = text.line
        found.add(line, *text.value())
        if text.peek() == ",":
            text.skip()
        elif text.peek() != "]":
            raise text.error("no comma stands after a record")
        if text.pieces > read:
            yield found
            found, read = Records(), text.pieces
    yield found


def _enter(text: _Window, path: str) -> None:
    """Move behind the bracket that opens the array."""
    for key in path.split(".") if path else ():
        if text.peek() != "{":
            raise text.error(f"no object holds the key {key!r}", "check source.records")
        text.skip()
        passed: list[str] = []
        while text.peek() != "}":
            name, _, _ = text.value()
            if text.peek() != ":":
                raise text.error("no colon stands after a key")
            text.skip()
            text.peek()
            if name == key:
                break
            passed.append(str(name))
            text.value()
            if text.peek() == ",":
                text.skip()
        else:
            raise text.error(f"no key {key!r}; it has {', '.join(passed[:8])}", "check source.records")
    if text.peek() != "[":
        raise text.error(f"no list at {path or 'the top'}", "name it in source.records, such as data.items")
    text.skip()


class _Window:
    """A part of a text that moves on over it."""

    def __init__(self, pieces: Iterator[bytes], where: str) -> None:
        self.line = 1
        self.pieces = 0
        self._coming = pieces
        self._where = where
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """Move over space and return the character that stands there; the text must go on."""
        while True:
            self._move(SPACE.match(self._text, self._at).end())  # type: ignore[union-attr] # it matches nothing, too
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                raise self.error("the text ends before its array does", "fetch it again")

    def skip(self) -> None:
        """Move over one character."""
        self._at += 1

    def value(self) -> tuple[Any, str, str]:
        """Move over a value and return it, its text, and why it is none."""
        while True:
            value, reason = None, ""
            end: int | None
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                reason, end = _told(error), self._end()
            # What touches the end of the window may go on behind it, as 12 of 123 does.
            if end is not None and end < len(self._text):
                raw = self._text[self._at : end]
                self._move(end)
                return value, raw.strip(), reason
            if len(self._text) - self._at > MOST or not self._more():
                raise self.error("a record that begins here does not end", "mend its quotes and brackets")

    def error(self, what: str, mend: str = "mend the file, or fetch it again") -> DataError:
        """Return an error that tells the line."""
        return DataError(f"line {self.line}: {what}", where=self._where, mend=mend)

    def _move(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _more(self) -> bool:
        piece = next(self._coming, None)
        if piece is None:
            return False
        self._text = self._text[self._at :] + self._decoder.decode(piece)
        self._at = 0
        self.pieces += 1
        return True

    def _end(self) -> int | None:
        """Find where a value that does not parse ends: before the comma or the bracket of the array that holds it."""
        depth = 0
        for mark in MARK.finditer(self._text, self._at):
            if mark[1] is not None:
                return None
            sign = mark[0][0]
            if not depth and sign in ",]}":
                return mark.start()
            depth += (sign in "[{") - (sign in "]}")
        return None


def _reason(value: Any, raw: str) -> str:
    """Say why a value is no record."""
    if not isinstance(value, dict):
        return f"is a {type(value).__name__}, not an object"
    if HALF.search(raw):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return "is not UTF-8, or holds half of a surrogate pair"
    return ""


def _told(error: Exception) -> str:
    return "is nested too deeply" if isinstance(error, RecursionError) else f"is not JSON: {error}"
