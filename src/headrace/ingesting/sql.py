"""Tables and queries of PostgreSQL and SQLite by ADBC: ranges of a key, streamed in record batches."""

from __future__ import annotations

import contextlib
import json
import secrets as tokens
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.errors import DataError, InputError, MissingExtraError, StorageError
from headrace.ingesting.batches import conform, rows_to_batch
from headrace.ingesting.columns import ColumnPlan, Layout
from headrace.ingesting.firstlook import declared_plan, first_look
from headrace.ingesting.sources import StartOver, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.ingesting.batches import Batch
    from headrace.ingesting.options import SqlSource
    from headrace.ingesting.sources import Work

SQLITE = ("sqlite:///", "sqlite://", "file:")
POSTGRES = ("postgresql://", "postgres://")
ROWS_AT_ONCE = 20_000
Bound = int | float | str | datetime | date | None


class SqlRows:
    """The rows of a table or query; see `headrace.ingesting.sources.Source`.

    Each range of the key is a unit, read by a query of its own. The ranges and the upper bound of the watermark are
    fixed when the ingest begins and kept on disk, so that a killed ingest goes on with the same.
    """

    def __init__(self, source: SqlSource, work: Work) -> None:
        self._source = source
        self._work = work
        self._uri = work.secrets.expand(source.uri, "source.uri")
        self._label = source.table or "query"
        self._lite = self._uri.startswith(SQLITE)
        if not self._lite and not self._uri.startswith(POSTGRES):
            raise InputError(
                "neither PostgreSQL nor SQLite",
                where="source.uri",
                mend="write postgresql://... or sqlite:///path",
            )
        self.whole = source.watermark is None
        self._plan = self._planned()

    def units(self) -> list[Unit]:
        """Give the ranges, then the rows without a key."""
        token = self._plan["token"]
        return [
            Unit(f"{token} {condition or 'all'}", token, self._tell(condition), {"where": condition})
            for condition in self._plan["conditions"]
        ]

    def look(self, units: Sequence[Unit]) -> Layout:  # noqa: ARG002 the protocol's
        """Take the database's types; what comes as text, as numerics do, is looked at."""
        file = self._work.file
        limit = f"{self._select('')} LIMIT {file.first_look.rows}"
        with self._connected() as connection, self._cursor(connection, limit, file.first_look.rows) as reader:
            sample = reader.read_all()
        opaque = {field.name for field in sample.schema if isinstance(field.type, pa.BaseExtensionType)}
        sample = storage_of(sample)
        looked = [
            name
            for name in sample.column_names
            if pa.types.is_string(sample[name].type) and (self._lite or name in opaque)
        ]
        found = first_look(sample.select(looked), {}, file.drop, file.first_look.agreement)
        by_name = {column.name: column for column in found.columns}
        columns = []
        for field in sample.schema:
            if field.name in file.drop:
                continue
            if field.name in file.columns:
                columns.append(declared_plan(field.name, file.columns[field.name]))
            else:
                columns.append(by_name.get(field.name, ColumnPlan(field.name, field.type)))
        return Layout(tuple(columns), found.notes)

    def read(self, unit: Unit, layout: Layout, facts: dict[str, Any]) -> Iterator[Batch]:
        """Stream one range; values that a type of the layout cannot hold make their rows bad."""
        query = self._select(unit.detail["where"])
        facts["query"] = query
        if facts.get("exact"):
            yield from self._row_by_row(query, layout)
            return
        line = 0
        try:
            with self._connected() as connection, self._cursor(connection, query) as reader:
                for batch in reader:
                    if batch.num_rows:
                        table = storage_of(pa.Table.from_batches([batch]))
                        yield conform(table, layout, first=line + 1)
                        line += batch.num_rows
        except StorageError:
            if self._lite:  # the driver takes the types of the first rows for those of all
                raise StartOver from None
            raise

    def watermark(self) -> Any:
        """Largest value of the watermark's column when the ingest began."""
        return self._plan["upper"]

    def _tell(self, condition: str) -> str:
        return f"{self._label} where {condition}" if condition else self._label

    def _planned(self) -> dict[str, Any]:
        path = self._work.spool / "ranges.json"
        if path.exists():
            plan: dict[str, Any] = json.loads(path.read_text())
            return plan
        plan = self._make_plan()
        aside = path.with_suffix(".tmp")
        aside.write_text(json.dumps(plan))
        aside.rename(path)
        return plan

    def _make_plan(self) -> dict[str, Any]:
        source, since = self._source, self._work.watermark
        after = (
            [f"{name_of(source.watermark)} > {literal(since)}"]
            if source.watermark and since is not None
            else []
        )
        upper: Bound = since
        if source.watermark:
            upper = self._extremes(source.watermark, after)[1]
            if upper is None:  # nothing new
                return {"token": tokens.token_hex(8), "upper": since, "conditions": []}
            border = f"{name_of(source.watermark)} <= {literal(upper)}"
            after = (
                [*after, border]
                if since is not None
                else [f"({border} OR {name_of(source.watermark)} IS NULL)"]
            )
        conditions = [" AND ".join(after)]
        if source.key:
            low, high = self._extremes(source.key, after)
            key = name_of(source.key)
            pieces = [
                f"{key} >= {literal(left)} AND {key} {'<=' if last else '<'} {literal(right)}"
                for left, right, last in cut(low, high, source.partitions)
            ]
            conditions = [" AND ".join([*after, piece]) for piece in [*pieces, f"{key} IS NULL"]]
        shown = upper.isoformat() if isinstance(upper, date) else upper
        return {"token": tokens.token_hex(8), "upper": shown, "conditions": conditions}

    def _extremes(self, column: str, conditions: list[str]) -> tuple[Bound, Bound]:
        name = name_of(column)
        inner = self._select(" AND ".join(conditions))
        query = f"SELECT min({name}) AS low, max({name}) AS high FROM ({inner}) AS bounds"  # noqa: S608 quoted by name_of
        with self._connected() as connection, self._cursor(connection, query) as reader:
            row = storage_of(reader.read_all()).to_pylist()[0]
        return row["low"], row["high"]

    def _select(self, condition: str) -> str:
        source = self._source
        inner = (
            f"({source.query})" if source.query else ".".join(map(name_of, (source.table or "").split(".")))
        )
        where = f" WHERE {condition}" if condition else ""
        return f"SELECT * FROM {inner} AS source{where}"  # noqa: S608 the user's own query; names are quoted

    def _row_by_row(self, query: str, layout: Layout) -> Iterator[Batch]:
        import sqlite3

        with contextlib.closing(sqlite3.connect(f"file:{self._path()}?mode=ro", uri=True)) as connection:
            cursor = connection.execute(query)
            names = [column[0] for column in cursor.description]
            line = 0
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                records = [dict(zip(names, row, strict=True)) for row in rows]
                nulls = ()  # a database has nulls of its own
                yield rows_to_batch(records, range(line + 1, line + len(rows) + 1), layout, nulls)
                line += len(rows)

    def _path(self) -> str:
        path = self._uri
        for start in SQLITE:
            path = path.removeprefix(start)
        if not Path(path).exists():
            raise DataError("no such database", where=path, mend="check source.uri; sqlite:///relative/path")
        return path

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            if self._lite:
                from adbc_driver_sqlite import dbapi
            else:
                from adbc_driver_postgresql import dbapi  # type: ignore[no-redef] # one of two drivers
        except ImportError:
            package = "adbc-driver-sqlite" if self._lite else "adbc-driver-postgresql"
            raise MissingExtraError.for_extra(package, "ingest") from None
        address = f"file:{self._path()}?mode=ro" if self._lite else self._uri
        with self._told():
            connection = dbapi.connect(address)
        with contextlib.closing(connection):
            yield connection

    @contextlib.contextmanager
    def _cursor(self, connection: Any, query: str, rows: int = ROWS_AT_ONCE) -> Iterator[Any]:
        options = {"adbc.sqlite.query.batch_rows": rows} if self._lite else {}
        with self._told(), connection.cursor(adbc_stmt_kwargs=options) as cursor:
            cursor.execute(query)
            with cursor.fetch_record_batch() as reader:
                yield reader

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        import adbc_driver_manager

        try:
            yield
        except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
            text = self._work.secrets.hide(" ".join(str(error).split()))[:400]
            raise StorageError(text, where=self._label, mend="check source; run it again to go on") from None


def storage_of(table: pa.Table) -> pa.Table:
    """Return a table whose extension types, as numerics have, are the types that they are stored in."""
    arrays = [
        pa.chunked_array([chunk.storage for chunk in column.chunks], type=column.type.storage_type)
        if isinstance(column.type, pa.BaseExtensionType)
        else column
        for column in table.columns
    ]
    return pa.table(arrays, names=table.column_names)


def name_of(column: str) -> str:
    """Quote a name for SQL.

    Examples
    --------
    >>> name_of('a"b')
    '"a""b"'
    """
    return '"' + column.replace('"', '""') + '"'


def literal(value: Bound) -> str:
    """Write a bound for SQL.

    Examples
    --------
    >>> literal(3), literal("it's"), literal(date(2026, 1, 31))
    ('3', "'it''s'", "'2026-01-31'")
    """
    if isinstance(value, int | float):
        return repr(value)
    text = value.isoformat() if isinstance(value, date) else str(value)
    return "'" + text.replace("'", "''") + "'"


def cut(low: Any, high: Any, parts: int) -> list[tuple[Any, Any, bool]]:
    """Cut a closed range into half-open ones of equal width, the last closed.

    Examples
    --------
    >>> cut(1, 10, 3)
    [(1, 4, False), (4, 7, False), (7, 10, True)]
    >>> cut(5, 5, 3)
    [(5, 5, True)]

    Raises
    ------
    InputError
        The bounds are neither whole numbers nor times.
    """
    if low is None:
        return []
    if not isinstance(low, int | date) or isinstance(low, bool):
        raise InputError(
            f"source.key holds {type(low).__name__}",
            where="source.key",
            mend="name a column of whole numbers or times",
        )
    if not isinstance(low, int) and not isinstance(low, datetime):
        parts = min(parts, max((high - low).days, 1))
    edges = [low + (high - low) * step // parts for step in range(parts)] if isinstance(low, int) else [
        low + (high - low) / parts * step for step in range(parts)
    ]  # fmt: skip
    edges = [*dict.fromkeys(edges), high] if high not in edges else [*dict.fromkeys(edges)]
    if len(edges) == 1:
        return [(low, high, True)]
    last = len(edges) - 2
    return [(edges[step], edges[step + 1], step == last) for step in range(last + 1)]
