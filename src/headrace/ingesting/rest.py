"""A JSON API page by page: each page is kept on disk as it comes, so a killed ingest goes on from the last."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from headrace.errors import DataError
from headrace.ingesting.batches import flat, names_of, rows_to_batch, text_table
from headrace.ingesting.firstlook import first_look
from headrace.ingesting.sources import Unit, digest
from headrace.ingesting.web import Web, origin, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from headrace.ingesting.batches import Batch
    from headrace.ingesting.columns import Layout
    from headrace.ingesting.options import RestSource
    from headrace.ingesting.sources import Work

END = "end"


def dig(document: Any, path: str) -> Any:
    """Return what a document holds at a path such as ``data.items``; None when nothing is there.

    Examples
    --------
    >>> dig({"data": {"items": [1]}}, "data.items"), dig([1], ""), dig({}, "a.b")
    ([1], [1], None)
    """
    for part in path.split(".") if path else ():
        document = document.get(part) if isinstance(document, dict) else None
    return document


class RestPages:
    """The records of an API; see `headrace.ingesting.sources.Source`."""

    whole = False

    def __init__(self, source: RestSource, work: Work) -> None:
        self._source = source
        self._work = work
        self._folder = work.spool / "pages"
        self._highest: Any = work.watermark
        self.whole = source.watermark is None

    def units(self) -> list[Unit]:
        """Fetch the pages that are not there yet; all of them are one unit."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._fetch()
        whole = hashlib.sha256()
        records = 0
        for page in self._pages():
            for record in page:
                whole.update(json.dumps(record, sort_keys=True).encode())
                records += 1
                self._raise_watermark(record)
        if not records and self._work.watermark is not None:
            return []
        stamp = whole.hexdigest()
        since = self._work.watermark
        name = "pages" if self.whole else f"pages after {since}"
        return [Unit(name, stamp, plain(self._source.url), {"records": records, "sha256": stamp})]

    def look(self, units: Sequence[Unit]) -> Layout:  # noqa: ARG002 the protocol's
        """Look at the first records."""
        rows: list[dict[str, Any]] = []
        for page in self._pages():
            rows += [flat(record) for record in page]
            if len(rows) >= self._work.file.first_look.rows:
                break
        if not rows:
            raise DataError(
                "the first look found no record", where=plain(self._source.url), mend="check source.records"
            )
        file = self._work.file
        table = text_table(rows, names_of(rows), file.null_values)
        return first_look(table, file.columns, file.drop, file.first_look.agreement)

    def read(self, unit: Unit, layout: Layout, facts: dict[str, Any]) -> Iterator[Batch]:
        """Convert the pages on disk."""
        line = 0
        for page in self._pages():
            rows = [flat(record) for record in page]
            yield rows_to_batch(
                rows, range(line + 1, line + len(rows) + 1), layout, self._work.file.null_values
            )
            line += len(rows)
        facts |= {"sha256": unit.stamp, "records": line}

    def watermark(self) -> Any:
        """Largest value of the field that grows."""
        return self._highest

    def _raise_watermark(self, record: Any) -> None:
        if self._source.watermark is None:
            return
        value = dig(record, self._source.watermark)
        if value is not None and (self._highest is None or value > self._highest):
            self._highest = value

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        """Give the records of each page, without those that the watermark of earlier runs covers."""
        field, since = self._source.watermark, self._work.watermark
        for path in self._paths():
            records = json.loads(path.read_text())["records"]
            if field is not None and since is not None:
                records = [each for each in records if (value := dig(each, field)) is None or value > since]
            yield records

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))

    def _fetch(self) -> None:
        source, secrets = self._source, self._work.secrets
        headers = {
            name: secrets.expand(text, f"source.headers.{name}") for name, text in source.headers.items()
        }
        home = secrets.expand(source.url, "source.url")
        paths = self._paths()
        following = json.loads(paths[-1].read_text())["next"] if paths else self._first()
        seen = {digest(json.loads(path.read_text())["next"]) for path in paths}
        if paths and following != END:
            self._work.say(f"{plain(source.url)}: goes on after page {len(paths)}")
        with Web(source, headers, home, self._work.say) as web:
            number = len(paths)
            while following != END:
                if number >= source.pages:
                    self._work.say(
                        f"{plain(source.url)}: stopped at source.pages, {source.pages}; there are more"
                    )
                    break
                url = secrets.expand(following["url"], "source.url")
                parameters = {
                    name: secrets.expand(value, f"source.parameters.{name}")
                    if isinstance(value, str)
                    else value
                    for name, value in following["parameters"].items()
                }
                response = web.get(url, parameters)
                records, document = self._records(response, number)
                following = self._next(response, document, records, following, home)
                mark = digest(following)
                if following != END and mark in seen:
                    raise DataError(
                        f"page {number + 1} leads back to a page that was read",
                        where=plain(url),
                        mend="check source.paging; the API answers in a circle",
                    )
                seen.add(mark)
                self._keep(number, {"next": following, "records": records})
                number += 1

    def _first(self) -> dict[str, Any]:
        source, paging = self._source, self._source.paging
        parameters: dict[str, Any] = dict(source.parameters)
        if source.watermark is not None and self._work.watermark is not None:
            parameters[source.since_parameter] = self._work.watermark
        if paging.kind != "none":
            parameters[paging.limit_parameter] = paging.limit
        if paging.kind == "offset":
            parameters[paging.parameter] = 0
        return {"url": source.url, "parameters": parameters}

    def _records(self, response: Any, number: int) -> tuple[list[Any], Any]:
        where = f"{plain(str(response.url))} page {number + 1}"
        try:
            document = response.json()
        except ValueError as error:
            raise DataError(f"is not JSON ({error})", where=where, mend="check source.url") from None
        records = dig(document, self._source.records)
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            keys = f"; it has {', '.join(list(document)[:8])}" if isinstance(document, dict) else ""
            path = self._source.records or "the top"
            raise DataError(
                f"no list of objects at {path}{keys}", where=where, mend="name it in source.records"
            )
        return records, document

    def _next(
        self, response: Any, document: Any, records: list[Any], now: dict[str, Any], home: str
    ) -> dict[str, Any] | str:
        paging, parameters = self._source.paging, now["parameters"]
        if paging.kind == "offset":
            if len(records) < paging.limit:
                return END
            return {
                **now,
                "parameters": {**parameters, paging.parameter: parameters[paging.parameter] + len(records)},
            }
        if paging.kind == "cursor":
            cursor = dig(document, paging.cursor)
            if cursor is None or cursor is False or cursor == "":
                return END
            return {**now, "parameters": {**parameters, paging.parameter: self._hidden(cursor)}}
        link = response.links.get("next", {}).get("url") if paging.kind == "link" else None
        if link is None:
            return END
        url = urljoin(str(response.url), link)
        if origin(url) != origin(home):
            raise DataError("the next page is on another server", where=plain(url), mend="check the API")
        return {"url": self._hidden(url), "parameters": {}}

    def _hidden(self, value: Any) -> Any:
        """Keep no credential on disk that a server has echoed."""
        return self._work.secrets.hide(value) if isinstance(value, str) else value

    def _keep(self, number: int, page: dict[str, Any]) -> None:
        path = self._folder / f"{number:08d}.json"
        aside = path.with_suffix(".tmp")
        aside.write_text(json.dumps(page))
        aside.rename(path)
