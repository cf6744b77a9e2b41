"""Tables of web pages, where robots.txt allows it, no faster than is polite."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

from headrace.errors import DataError, InputError, MissingExtraError
from headrace.ingesting.batches import names_of, rows_to_batch, text_table
from headrace.ingesting.columns import unique_names
from headrace.ingesting.firstlook import first_look
from headrace.ingesting.sources import Unit
from headrace.ingesting.web import AGENT, Web, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.ingesting.batches import Batch
    from headrace.ingesting.columns import Layout
    from headrace.ingesting.options import HtmlSource
    from headrace.ingesting.sources import Work

MOST_SPAN = 1000


class HtmlTables:
    """One table of each page; see `headrace.ingesting.sources.Source`."""

    whole = False

    def __init__(self, source: HtmlSource, work: Work) -> None:
        self._source = source
        self._work = work

    def units(self) -> list[Unit]:
        """Fetch the pages; a page is a unit."""
        return [
            Unit(plain(url), hashlib.sha256(page).hexdigest(), plain(url), {"number": number})
            for number, (url, page) in enumerate(self._pages)
        ]

    def look(self, units: Sequence[Unit]) -> Layout:
        """Look at all of the tables; they are in memory."""
        file = self._work.file
        rows = [row for unit in units for row in self._rows(unit)][: file.first_look.rows]
        if not rows:
            raise DataError("the table has no rows", where=units[0].label, mend="check source.table")
        table = text_table(rows, names_of(rows), file.null_values)
        return first_look(table, file.columns, file.drop, file.first_look.agreement)

    def read(self, unit: Unit, layout: Layout, facts: dict[str, Any]) -> Iterator[Batch]:
        """Convert one table."""
        rows = self._rows(unit)
        facts |= {"sha256": unit.stamp}
        yield rows_to_batch(rows, range(1, len(rows) + 1), layout, self._work.file.null_values)

    def watermark(self) -> Any:
        """Pages have none."""
        return None

    @cached_property
    def _pages(self) -> list[tuple[str, bytes]]:
        secrets, source = self._work.secrets, self._source
        headers = {
            name: secrets.expand(text, f"source.headers.{name}") for name, text in source.headers.items()
        }
        urls = [secrets.expand(url, "source.url") for url in source.url]
        pages = []
        with Web(source, headers, urls[0], self._work.say) as web:
            robots: dict[str, RobotFileParser] = {}
            for url in urls:
                parts = urlsplit(url)
                home = f"{parts.scheme}://{parts.netloc}"
                if home not in robots:
                    robots[home] = self._robots(web, home)
                if not robots[home].can_fetch(AGENT, url):
                    raise InputError(
                        "robots.txt does not allow it", where=plain(url), mend="ask who runs the site"
                    )
                delay = robots[home].crawl_delay(AGENT)
                web.pause = max(web.pause, float(delay or 0.0))
                pages.append((url, web.get(url).content))
        return pages

    @staticmethod
    def _robots(web: Web, home: str) -> RobotFileParser:
        """Read robots.txt as RFC 9309 says: none is no rule, and one that is kept from us forbids all."""
        rules = RobotFileParser()
        response = web.get(f"{home}/robots.txt", allow=tuple(range(400, 500)))
        if response.status_code in {401, 403}:
            rules.parse(["User-agent: *", "Disallow: /"])
        else:
            rules.parse(response.text.splitlines() if response.status_code < 400 else [])
        return rules

    def _rows(self, unit: Unit) -> list[dict[str, Any]]:
        return table_rows(self._pages[unit.detail["number"]][1], self._source.table, unit.label)


def table_rows(page: bytes, which: int | str, where: str) -> list[dict[str, Any]]:
    """Read one table of a page; the first row holds the names.

    Parameters
    ----------
    page : bytes
        HTML.
    which : int or str
        Number of the table in the page from 0, or its id.
    where : str
        Stands for the page in errors.

    Raises
    ------
    DataError
        There is no such table.
    MissingExtraError
        lxml is not installed.
    """
    try:
        from lxml import etree
        from lxml import html as pages
    except ImportError:
        raise MissingExtraError.for_extra("lxml", "ingest") from None
    try:
        tables = pages.document_fromstring(page).xpath("//table")
    except (etree.ParserError, ValueError) as error:
        raise DataError(f"is not HTML ({error})", where=where, mend="check source.url") from None
    if isinstance(which, str):
        chosen = [table for table in tables if table.get("id") == which]
    else:
        chosen = tables[which : which + 1] if which >= 0 else []
    if not chosen:
        known = ", ".join(
            f"{n}{' (' + t.get('id') + ')' if t.get('id') else ''}" for n, t in enumerate(tables)
        )
        raise DataError(
            f"has no table {which!r}",
            where=where,
            mend=f"tables are: {known}" if tables else "check source.url",
        )
    grid = _grid(chosen[0])
    if not grid:
        return []
    names = unique_names(grid[0])
    return [dict(zip(names, row, strict=False)) for row in grid[1:]]


def _grid(table: Any) -> list[list[str]]:
    """Lay the cells out, those that span rows or columns in each place they cover."""
    grid: list[list[str]] = []
    below: dict[int, tuple[int, str]] = {}
    for line in table.xpath("./tr|./thead/tr|./tbody/tr|./tfoot/tr"):
        row: list[str] = []
        cells = list(line.xpath("./td|./th"))
        while cells or below.get(len(row)):
            if len(row) in below:
                left, text = below.pop(len(row))
                if left > 1:
                    below[len(row)] = (left - 1, text)
                row.append(text)
                continue
            cell = cells.pop(0)
            text = " ".join(cell.text_content().split())
            down = _span(cell, "rowspan")
            for _ in range(_span(cell, "colspan")):
                if down > 1:
                    below[len(row)] = (down - 1, text)
                row.append(text)
        if row:
            grid.append(row)
    return grid


def _span(cell: Any, name: str) -> int:
    text = cell.get(name, "1").strip()
    return min(max(int(text), 1), MOST_SPAN) if text.isdecimal() else 1
