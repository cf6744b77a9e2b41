"""Bodies of requests: strict JSON as rows or columns, or an Arrow IPC stream, read once and turned into tensors."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.errors import InputError
from headrace.serving.feeds import feeds_of_columns, feeds_of_rows, feeds_of_table, treated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.packaging.signature import InputColumn, Signature
    from headrace.serving.feeds import Feeds

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
_SHAPE = 'send {"rows": [{"column": value}, ...]} or {"columns": {"column": [value, ...]}}'


@dataclass(frozen=True)
class Body:
    """What one request asks about, before it is held against the inputs of a model."""

    form: str
    """``rows``, ``columns`` or ``table``."""
    content: Any
    rows: int
    flaw: str = ""
    """What is no JSON in it, should no column that the model reads hold it."""

    def feeds(self, signature: Signature) -> Feeds:
        """Turn the content into the tensors that a model takes, columns about persons treated as in training.

        Raises
        ------
        InputError
            When it does not fit the inputs; row and column are named.
        """
        inputs = signature.inputs
        if self.form == "rows":
            made = feeds_of_rows(self.content, inputs)
        elif self.form == "columns":
            made = feeds_of_columns(self.content, inputs)
        else:
            made = _feeds_of_arrow(self.content, inputs)
        if self.flaw:
            raise InputError(self.flaw, where="body")
        return treated(made, signature) if signature.pii else made


def read_body(content: bytes, kind: str, most: int) -> Body:
    """Read the body of a request.

    Parameters
    ----------
    content : bytes
        All of it.
    kind : str
        Its media type, `JSON` or `ARROW`.
    most : int
        Rows that may be asked about at once.

    Raises
    ------
    InputError
        When it is not what its media type says, or has another shape than rows or columns.
    TooManyRowsError
        When it has more than `most` rows.
    """
    return _read_arrow(content, most) if kind == ARROW else _read_rows(content, most)


class TooManyRowsError(InputError):
    """A request asks about more rows than the server takes at once."""

    def __init__(self, rows: int, most: int) -> None:
        super().__init__(f"{rows:,} rows are more than {most:,}", where="body", mend="send them in parts")


class _NoJson:
    """In place of NaN or an infinity, which are words of JavaScript and not of JSON."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __repr__(self) -> str:
        return self.word


class _Twice(dict[str, Any]):
    """An object of JSON in which a name comes twice; which value was meant cannot be known."""

    name = ""


class _Strict:
    """Reads one document and remembers the first thing that a lenient reader would have let through."""

    def __init__(self) -> None:
        self.flaw = ""

    def constant(self, word: str) -> _NoJson:
        self.flaw = self.flaw or f"{word} is not JSON"
        return _NoJson(word)

    def pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        twice = _Twice(made)
        twice.name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        self.flaw = self.flaw or f"{twice.name[:60]!r} comes twice in one object"
        return twice


def read_json(content: bytes) -> tuple[Any, str]:
    """Read strict JSON.

    Returns
    -------
    document : object
        NaN and infinities are held by objects that are no number.
    flaw : str
        The first of: a word that is no JSON, a name that comes twice; empty when there is none.

    Raises
    ------
    InputError
        When it is not JSON at all, is nested too deeply, or holds an integer of thousands of digits.
    """
    strict = _Strict()
    try:
        document = json.loads(content, parse_constant=strict.constant, object_pairs_hook=strict.pairs)
    except RecursionError:
        raise InputError("is nested too deeply", where="body") from None
    except UnicodeDecodeError:
        raise InputError("is not UTF-8", where="body") from None
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON: {error.msg} at character {error.pos}", where="body") from None
    except ValueError:
        raise InputError("holds a number of too many digits", where="body") from None
    return document, strict.flaw


def _read_rows(content: bytes, most: int) -> Body:
    document, flaw = read_json(content)
    if not isinstance(document, dict):
        raise InputError("is not an object", where="body", mend=_SHAPE)
    if isinstance(document, _Twice):
        raise InputError(f"{document.name[:60]!r} comes twice", where="body", mend=_SHAPE)
    unknown = document.keys() - {"rows", "columns"}
    if unknown or len(document) != 1:
        extra = f"; {min(unknown)[:60]!r} is neither" if unknown else ""
        raise InputError(f"must hold either rows or columns{extra}", where="body", mend=_SHAPE)
    made = _rows(document["rows"], most) if "rows" in document else _columns(document["columns"], most)
    return replace(made, flaw=flaw) if flaw else made


def _rows(rows: Any, most: int) -> Body:
    if not isinstance(rows, list):
        raise InputError("is not a list", where="body: rows", mend=_SHAPE)
    if len(rows) > most:
        raise TooManyRowsError(len(rows), most)
    for number, row in enumerate(rows):
        if type(row) is not dict:
            what = f"{row.name[:60]!r} comes twice" if isinstance(row, _Twice) else "is not an object"
            raise InputError(what, where=f"row {number}", mend=_SHAPE)
    return Body("rows", rows, len(rows))


def _columns(columns: Any, most: int) -> Body:
    if not isinstance(columns, dict):
        raise InputError("is not an object", where="body: columns", mend=_SHAPE)
    if isinstance(columns, _Twice):
        raise InputError("comes twice", where=f"column {columns.name[:60]}", mend=_SHAPE)
    for name, values in columns.items():
        if not isinstance(values, list):
            raise InputError("is not a list", where=f"column {name[:60]}", mend=_SHAPE)
    longest = max((len(values) for values in columns.values()), default=0)
    if longest > most:
        raise TooManyRowsError(longest, most)
    return Body("columns", columns, longest)


def _read_arrow(content: bytes, most: int) -> Body:
    batches, rows = [], 0
    try:
        with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
            schema = stream.schema
            for batch in stream:
                rows += batch.num_rows
                # Compressed or repeated buffers can hold far more rows than bytes: count before the next one.
                if rows > most:
                    raise TooManyRowsError(rows, most)
                batch.validate(full=True)
                batches.append(batch)
        return Body("table", pa.Table.from_batches(batches, schema), rows)
    except (pa.ArrowException, OSError, ValueError, TypeError, EOFError, MemoryError):
        raise InputError("is not an Arrow IPC stream", where="body") from None


def _feeds_of_arrow(table: pa.Table, inputs: Sequence[InputColumn]) -> Feeds:
    try:
        present = set(table.schema.names)
        for column in inputs:
            if column.nullable and column.name not in present:
                table = table.append_column(column.name, pa.nulls(table.num_rows))
        return feeds_of_table(table, inputs)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, NotImplementedError):
        raise InputError("a name or a value cannot be read", where="body") from None
