from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from headrace.errors import DataError, InputError, StorageError, WorkflowError
from headrace.ingesting.html import table_rows
from headrace.ingesting.options import BundledSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ingesting.conftest import Bench

RECORDS = [{"id": number, "at": f"2026-01-{number + 1:02}"} for number in range(25)]
FAST = {"requests_a_second": 1000, "back_off": 0.01}


def asked(path: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(path).query).items()}


def answer_of(document: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"content-type": "application/json", **headers}, json.dumps(document).encode()


def by_offset(_: str, path: str, __: dict[str, str]):
    begin, count = int(asked(path)["offset"]), int(asked(path)["limit"])
    return answer_of({"data": {"items": RECORDS[begin : begin + count]}})


def by_cursor(_: str, path: str, __: dict[str, str]):
    begin = int(asked(path).get("page", 0))
    return answer_of(
        {"items": RECORDS[begin : begin + 10], "meta": {"next": begin + 10 if begin < 20 else None}}
    )


def by_link(_: str, path: str, __: dict[str, str]):
    begin = int(asked(path).get("begin", 0))
    link = (
        {"link": f'</x?begin={begin + 10}&key={asked(path).get("key", "")}>; rel="next"'}
        if begin < 20
        else {}
    )
    return answer_of(RECORDS[begin : begin + 10], **link)


OFFSET = {"records": "data.items", "paging": {"kind": "offset", "limit": 10}}
CURSOR = {"records": "items", "paging": {"kind": "cursor", "parameter": "page", "cursor": "meta.next"}}
LINK = {"paging": {"kind": "link"}}


@pytest.mark.parametrize(("answer", "more"), [(by_offset, OFFSET), (by_cursor, CURSOR), (by_link, LINK)])
def test_pages_lead_to_all_records_once(
    bench: Bench, serve: Callable[..., Any], answer: Any, more: dict[str, Any]
):
    server = serve(answer)
    source = {"kind": "rest", "url": f"{server.url}/x", **FAST, **more}
    assert bench(source).columns == {"id": "int64", "at": "date32[day]"}
    assert bench.table["id"].to_pylist() == list(range(25))
    assert len(server.asked) == 3
    assert bench(source).units == 0


def test_credentials_are_sent_and_written_nowhere(
    bench: Bench, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("API_TOKEN", "t0p/secret")

    def answer(method: str, path: str, headers: dict[str, str]):
        if headers.get("authorization") != "Bearer t0p/secret":
            return 401, {}, b""
        return by_link(method, path, headers) if asked(path)["key"] == "t0p/secret" else (403, {}, b"")

    server = serve(answer)
    source = {
        "kind": "rest", "url": f"{server.url}/x", **FAST, **LINK, "pages": 2,
        "headers": {"Authorization": "Bearer ${API_TOKEN}"}, "parameters": {"key": "${API_TOKEN}"},
    }  # fmt: skip
    with pytest.raises(DataError, match="no list of objects"):
        bench({**source, "records": "none"})
    kept = [path.read_bytes() for path in bench.folder.rglob("*") if path.is_file()]
    bench(source)
    kept += [path.read_bytes() for path in bench.folder.rglob("*") if path.is_file()]
    assert not [True for data in kept if b"t0p" in data]
    assert "t0p" not in "".join(bench.lines)
    monkeypatch.setenv("API_TOKEN", "wr0ng")
    with pytest.raises(StorageError, match="401") as caught:
        bench(source, drop="x")
    assert "wr0ng" not in str(caught.value)
    monkeypatch.delenv("API_TOKEN")
    with pytest.raises(WorkflowError, match="API_TOKEN"):
        bench(source)


def test_credentials_do_not_follow_to_another_server(
    bench: Bench, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("API_TOKEN", "secret")
    other = serve(lambda *_: answer_of(RECORDS))
    server = serve(lambda *_: (302, {"location": f"{other.url}/y"}, b""))
    bench({"kind": "rest", "url": f"{server.url}/x", **FAST, "headers": {"X-Api-Key": "${API_TOKEN}"}})
    assert server.asked[0][2]["x-api-key"] == "secret"
    assert "x-api-key" not in other.asked[0][2]
    away = serve(lambda *_: answer_of(RECORDS, link=f'<{other.url}/z>; rel="next"'))
    with pytest.raises(DataError, match="another server"):
        bench({"kind": "rest", "url": f"{away.url}/x", **FAST, **LINK})


def test_busy_and_broken_servers_are_asked_again(bench: Bench, serve: Callable[..., Any]):
    trouble = [
        (429, {"retry-after": "1"}, b""),
        (500, {}, b""),
        (200, {"content-length": "999"}, b"[{"),
        (503, {}, b""),
    ]
    times = []

    def answer(*given: Any):
        times.append(time.monotonic())
        return trouble.pop(0) if trouble else by_link(*given)

    server = serve(answer)
    bench({"kind": "rest", "url": f"{server.url}/x", **FAST, **LINK})
    assert bench.table.num_rows == 25
    assert times[1] - times[0] >= 1.0  # what Retry-After asks for
    assert len(server.asked) == 7


def test_pages_that_were_read_are_not_asked_for_again(bench: Bench, serve: Callable[..., Any]):
    down = [True]

    def answer(method: str, path: str, headers: dict[str, str]):
        if down[0] and asked(path).get("page") == "20":
            return 500, {}, b""
        return by_cursor(method, path, headers)

    server = serve(answer)
    source = {"kind": "rest", "url": f"{server.url}/x", **FAST, **CURSOR, "retries": 1}
    with pytest.raises(StorageError, match="after 2 tries"):
        bench(source)
    server.asked.clear()
    down[0] = False
    bench(source)
    assert [asked(path).get("page") for _, path, _ in server.asked] == ["20"]
    assert bench.table["id"].to_pylist() == list(range(25))


def test_circles_are_told(bench: Bench, serve: Callable[..., Any]):
    server = serve(lambda *_: answer_of({"items": RECORDS, "meta": {"next": "again"}}))
    with pytest.raises(DataError, match="in a circle"):
        bench({"kind": "rest", "url": f"{server.url}/x", **FAST, **CURSOR})
    assert len(server.asked) == 2


def test_records_after_the_watermark_are_added(bench: Bench, serve: Callable[..., Any]):
    records = list(RECORDS[:10])

    def answer(_: str, path: str, __: dict[str, str]):
        since = asked(path).get("since", "")
        return answer_of([record for record in records if str(record["at"]) >= since])

    server = serve(answer)
    source = {"kind": "rest", "url": f"{server.url}/x", **FAST, "watermark": "at"}
    assert bench(source).rows == 10
    assert bench(source).units == 0
    records += RECORDS[10:]
    assert bench(source).new_rows == 15
    assert bench.table["id"].to_pylist() == list(range(25))


def test_requests_are_paced(bench: Bench, serve: Callable[..., Any]):
    server = serve(by_cursor)
    begun = time.monotonic()
    bench({"kind": "rest", "url": f"{server.url}/x", **CURSOR, "requests_a_second": 5})
    assert time.monotonic() - begun >= 0.4


PAGE = """<html><body><table id="first"><tr><th>x</th></tr></table>
<table id="towns"><thead><tr><th>town</th><th>people</th><th colspan="2">area</th></tr></thead><tbody>
<tr><td rowspan="2">Zürich <b>city</b></td><td>443,037</td><td>87.9</td><td>km²</td></tr>
<tr><td>1,000</td><td>1.0</td><td>km²</td></tr></tbody></table></body></html>"""


def test_tables_are_read_where_robots_allow_it(bench: Bench, serve: Callable[..., Any]):
    robots = b"User-agent: *\nDisallow: /private\nCrawl-delay: 0.2\n"

    def answer(_: str, path: str, __: dict[str, str]):
        if path == "/robots.txt":
            return 200, {}, robots
        return 200, {"content-type": "text/html; charset=utf-8"}, ("<meta charset=utf-8>" + PAGE).encode()

    server = serve(answer)
    source = {"kind": "html", "url": [f"{server.url}/a"], "table": "towns", **FAST}
    bench(source)
    assert bench.table.to_pylist() == [
        {"town": "Zürich city", "people": 443_037, "area": 87.9, "area_4": "km²"},
        {"town": "Zürich city", "people": 1000, "area": 1.0, "area_4": "km²"},
    ]
    assert [path for _, path, _ in server.asked] == ["/robots.txt", "/a"]
    with pytest.raises(InputError, match=r"robots\.txt"):
        bench({**source, "url": [f"{server.url}/private/a"]})
    with pytest.raises(DataError, match="first"):
        table_rows(PAGE.encode(), 7, "page")


def test_robots_that_are_kept_from_us_forbid_all(bench: Bench, serve: Callable[..., Any]):
    server = serve(lambda _, path, __: (403, {}, b"") if path == "/robots.txt" else (200, {}, PAGE.encode()))
    with pytest.raises(InputError, match=r"robots\.txt"):
        bench({"kind": "html", "url": f"{server.url}/a", **FAST})


def test_bundled_sets_come_with_their_types(bench: Bench):
    done = bench({"kind": "bundled", "name": "iris"}, columns={"target": "int8"})
    assert done.rows == 150
    assert done.columns["sepal_length_cm"] == "double"
    assert done.columns["target"] == "int8"
    assert bench({"kind": "bundled", "name": "iris"}, columns={"target": "int8"}).units == 0
    assert BundledSource(kind="bundled", name="wine").name == "wine"
