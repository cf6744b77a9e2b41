"""Files of a source, each a unit: delimited text, JSON, workbooks, Parquet; to typed batches."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.errors import DataError
from headrace.ingesting.batches import Batch, conform, names_of, rows_to_batch, text_table
from headrace.ingesting.columns import ColumnPlan, Layout
from headrace.ingesting.delimited import BLOCK, Reading, read_block, string_sample, whole_records
from headrace.ingesting.firstlook import declared_plan, first_look
from headrace.ingesting.jsonrecords import Records, array_records, line_records
from headrace.ingesting.places import find_places, format_of, raw_file, sha256_of, streams, told
from headrace.ingesting.records import Dialect
from headrace.ingesting.sniffing import HEAD, encoding_of, in_utf8, shape_of
from headrace.ingesting.sources import Unit
from headrace.ingesting.workbooks import sheet_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from headrace.ingesting.options import FilesSource
    from headrace.ingesting.places import Place
    from headrace.ingesting.sniffing import Shape
    from headrace.ingesting.sources import Work

AHEAD = 2
"""Blocks that are parsed while one is written."""
ROWS_AT_ONCE = 20_000
FILES_LOOKED_AT = 3
JSON = {"json", "jsonl"}
LINES = Dialect("\x00", "")
"""One record a line."""


class Files:
    """The files; see `headrace.ingesting.sources.Source`."""

    whole = False

    def __init__(self, source: FilesSource, work: Work) -> None:
        self._source = source
        self._work = work

    def units(self) -> list[Unit]:
        """List the files."""
        return [Unit(name, place.stamp, name) for name, place in self._places.items()]

    def look(self, units: Sequence[Unit]) -> Layout:
        """Look at the first rows of the first, the middle and the last file."""
        file = self._work.file
        chosen = [units[at] for at in sorted({0, len(units) // 2, len(units) - 1})][:FILES_LOOKED_AT]
        tables = [table for unit in chosen for table in self._looks(self._places[unit.name])]
        if all(isinstance(table, pa.Schema) for table in tables):
            schema = pa.unify_schemas(tables, promote_options="permissive")
            columns = [
                declared_plan(field.name, file.columns[field.name])
                if field.name in file.columns
                else ColumnPlan(field.name, field.type)
                for field in schema
                if field.name not in file.drop
            ]
            return Layout(tuple(columns))
        sample = pa.concat_tables(
            [table if isinstance(table, pa.Table) else _as_texts(table.empty_table()) for table in tables],
            promote_options="default",
        )
        if not sample.num_rows:
            raise DataError(
                "the first look found no row",
                where=chosen[0].label,
                mend="check source.url, and source.records of a list that an object holds",
            )
        return first_look(sample, file.columns, file.drop, file.first_look.agreement)

    def read(self, unit: Unit, layout: Layout, facts: dict[str, Any]) -> Iterator[Batch]:
        """Read one file strictly."""
        place = self._places[unit.name]
        with told(place.name):
            if self._kind(place.name) == "parquet":
                yield from self._parquet(place, layout, facts)
            elif self._kind(place.name) == "excel":
                yield from self._workbook(place, layout, facts)
            else:
                yield from self._texts(place, layout, facts)

    def watermark(self) -> Any:
        """Files have none; each is known by its path, size and stamp."""
        return None

    @cached_property
    def _places(self) -> dict[str, Place]:
        return {place.name: place for place in find_places(self._source, self._work)}

    def _kind(self, name: str) -> str:
        return "zip" if name.lower().endswith(".zip") else format_of(name, self._source.format)

    def _looks(self, place: Place) -> Iterator[pa.Table | pa.Schema]:
        kind = self._kind(place.name)
        with told(place.name):
            if kind == "parquet":
                with raw_file(place, self._work) as file:
                    yield _parquet_file(file, place.name).schema_arrow
            elif kind == "excel":
                yield self._text_table(self._sheet(place)[: self._work.file.first_look.rows])
            else:
                with streams(place, self._source.member, self._work) as members:
                    for name, stream in members:
                        yield self._text_sample(name, stream)

    def _text_sample(self, name: str, stream: BinaryIO) -> pa.Table:
        source, file = self._source, self._work.file
        kind = format_of(name, source.format)
        head = _filled(stream, HEAD)
        if kind in JSON:
            pieces = chain([head], iter(lambda: stream.read(BLOCK), b""))
            records = self._records(pieces, name, kind, block=HEAD)
            found = next((some for some in records if some.rows), Records())
            return self._text_table(found.rows[: file.first_look.rows])
        shape, text = self._shape(head, name, kind)
        end = text.rfind(b"\n") + 1 if len(head) == HEAD else len(text)
        return string_sample(
            text[shape.begin : end or len(text)],
            shape.names,
            shape.dialect,
            file.null_values,
            file.first_look.rows,
        )

    def _shape(self, head: bytes, name: str, kind: str) -> tuple[Shape, bytes]:
        encoding = encoding_of(head, self._source.encoding, name)
        text = next(in_utf8(iter([head]), encoding, name), b"")
        return shape_of(text, encoding, self._source, kind, name), text

    def _text_table(self, rows: Sequence[dict[str, Any]]) -> pa.Table:
        return text_table(rows, names_of(rows), self._work.file.null_values)

    def _texts(self, place: Place, layout: Layout, facts: dict[str, Any]) -> Iterator[Batch]:
        """Read delimited text or JSON, packed or not."""
        with streams(place, self._source.member, self._work) as members:
            for name, stream in members:
                kind = format_of(name, self._source.format)
                hashed = hashlib.sha256()
                size = 0
                head = _filled(stream, HEAD)

                def pieces(
                    head: bytes = head, stream: BinaryIO = stream, hashed: Any = hashed
                ) -> Iterator[bytes]:
                    nonlocal size
                    piece = head
                    while piece:
                        hashed.update(piece)
                        size += len(piece)
                        yield piece
                        piece = stream.read(BLOCK)

                text = pieces()
                if kind in JSON:
                    yield from self._json(text, layout, name, kind)
                else:
                    yield from self._delimited(head, text, layout, name, kind)
                deque(text, maxlen=0)  # what stands behind an array
                # What is hashed is the unpacked text, which is what was read.
                facts.setdefault("sha256", {})[name] = hashed.hexdigest()
                facts["bytes"] = facts.get("bytes", 0) + size

    def _delimited(
        self, head: bytes, pieces: Iterator[bytes], layout: Layout, name: str, kind: str
    ) -> Iterator[Batch]:
        shape, _ = self._shape(head, name, kind)
        if shape.encoding not in {"utf-8", "utf-8-sig"}:
            self._work.say(f"{name}: read as {shape.encoding}")
        self._refuse_unknown(shape.names, layout, name)
        reading = Reading(shape.names, layout, shape.dialect, self._work.file.null_values)
        text = _without(in_utf8(pieces, shape.encoding, name), shape.begin)

        def blocks() -> Iterator[tuple[bytes, Reading, int]]:
            line = shape.line
            for block in whole_records(text, shape.dialect, name):
                yield block, reading, line
                line += block.count(b"\n")

        yield from _ahead(blocks())

    def _json(self, pieces: Iterator[bytes], layout: Layout, name: str, kind: str) -> Iterator[Batch]:
        for found in self._records(pieces, name, kind):
            batch = rows_to_batch(found.rows, found.lines, layout, self._work.file.null_values)
            yield Batch(batch.table, (*found.bad, *batch.bad))

    def _records(
        self, pieces: Iterator[bytes], name: str, kind: str, block: int = BLOCK
    ) -> Iterator[Records]:
        """Read records of JSON, in lines or in one array: a file named ``.json`` may be either."""
        pieces = in_utf8(pieces, "utf-8-sig", name)
        first = next(pieces, b"")
        pieces = chain([first], pieces)
        if kind == "json" and (self._source.records or first.lstrip().startswith(b"[")):
            return array_records(pieces, self._source.records, name)
        return line_records(whole_records(pieces, LINES, name, block))

    def _parquet(self, place: Place, layout: Layout, facts: dict[str, Any]) -> Iterator[Batch]:
        with raw_file(place, self._work) as file:
            facts |= {"sha256": sha256_of(file)}
            opened = _parquet_file(file, place.name)
            self._refuse_unknown(opened.schema_arrow.names, layout, place.name)
            columns = [name for name in layout.names if name in opened.schema_arrow.names]
            line = 0
            try:
                for batch in opened.iter_batches(batch_size=1 << 16, columns=columns, use_threads=False):
                    yield conform(pa.Table.from_batches([batch]), layout, first=line + 1)
                    line += batch.num_rows
            except pa.ArrowException as error:
                raise DataError(f"is damaged ({error})", where=place.name, mend="fetch it again") from None

    def _workbook(self, place: Place, layout: Layout, facts: dict[str, Any]) -> Iterator[Batch]:
        with raw_file(place, self._work) as file:
            facts |= {"sha256": sha256_of(file)}
        rows = self._sheet(place)
        if rows:
            self._refuse_unknown(rows[0], layout, place.name)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            first = self._source.skip + 2 + start
            yield rows_to_batch(some, range(first, first + len(some)), layout, self._work.file.null_values)

    def _sheet(self, place: Place) -> list[dict[str, Any]]:
        with raw_file(place, self._work) as file:
            return sheet_rows(file.read(), self._source.sheet, self._source.skip, place.name)

    def _refuse_unknown(self, names: Iterable[str], layout: Layout, where: str) -> None:
        known = {*layout.names, *self._work.file.drop}
        for name in names:
            if name not in known:
                raise DataError(
                    f"has a column {name!r} that the first look did not see",
                    where=where,
                    mend="declare it under columns, or name it under drop",
                )


def _ahead(blocks: Iterator[tuple[bytes, Reading, int]]) -> Iterator[Batch]:
    """Cut and parse a few blocks while another is being written; order is kept."""
    with ThreadPoolExecutor(1) as cutter, ThreadPoolExecutor(1) as parser:

        def parsed(cut: Future[tuple[bytes, Reading, int] | None]) -> Batch | None:
            block = cut.result()
            return None if block is None else read_block(*block)

        waiting = deque(parser.submit(parsed, cutter.submit(next, blocks, None)) for _ in range(AHEAD))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(parser.submit(parsed, cutter.submit(next, blocks, None)))
            yield batch


def _without(pieces: Iterator[bytes], begin: int) -> Iterator[bytes]:
    """Leave the first bytes out."""
    for piece in pieces:
        left = piece[begin:]
        begin = max(begin - len(piece), 0)
        if left:
            yield left


def _filled(stream: BinaryIO, size: int) -> bytes:
    """Read so many bytes, or all; what unpacks may give fewer at a time."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _parquet_file(file: BinaryIO, where: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except pa.ArrowException as error:
        raise DataError(f"is not Parquet ({error})", where=where, mend="check source.format") from None


def _as_texts(table: pa.Table) -> pa.Table:
    return pa.table({name: pa.array([], pa.string()) for name in table.column_names})
