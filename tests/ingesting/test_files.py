from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.errors import DataError, InputError, StorageError, WorkflowError
from headrace.ingesting.places import format_of
from headrace.ingesting.sniffing import encoding_of
from headrace.ingesting.workbooks import sheet_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.ingesting.conftest import Bench

TEXT = "id,name\n1,Zürich\n2,Bern\n"
ROWS = [{"id": 1, "name": "Zürich"}, {"id": 2, "name": "Bern"}]


def zipped(**members: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return data.getvalue()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def workbook(sheets: dict[str, list[list[Any]]]) -> bytes:
    """A workbook as a spreadsheet writes it, with inline strings."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        numbers = range(1, len(sheets) + 1)
        kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
        parts = "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{kinds}.worksheet+xml"/>'
            for n in numbers
        )
        archive.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>{parts}</Types>',
        )
        office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        package = "http://schemas.openxmlformats.org/package/2006/relationships"
        main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="rId1" Type="{office}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        listed = "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>'
            for n, name in zip(numbers, sheets, strict=True)
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{listed}</sheets></workbook>',
        )
        links = "".join(
            f'<Relationship Id="rId{n}" Type="{office}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in numbers
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}">{links}</Relationships>'
        )
        for n, rows in zip(numbers, sheets.values(), strict=True):
            lines = "".join(
                f'<row r="{i}">'
                + "".join(cell(f"{chr(65 + j)}{i}", value) for j, value in enumerate(row))
                + "</row>"
                for i, row in enumerate(rows, 1)
            )
            archive.writestr(
                f"xl/worksheets/sheet{n}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>',
            )
    return data.getvalue()


def cell(place: str, value: Any) -> str:
    if value is None:
        return f'<c r="{place}"/>'
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


def named(value: object) -> str | None:
    """Name a case without its bytes, in which archives have written the time."""
    return "" if isinstance(value, bytes) else None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", TEXT.encode()),
        ("a.csv", b"\xef\xbb\xbf" + TEXT.encode()),
        ("a.csv", TEXT.encode("latin-1")),
        ("a.csv", TEXT.encode("utf-16")),
        ("a.csv", TEXT.replace("\n", "\r\n").encode()),
        ("a.csv", TEXT.replace("\n", "\r").encode()),
        ("a.csv", TEXT.replace(",", ";").encode()),
        ("a.txt", TEXT.replace(",", "|").encode()),
        ("a.tsv", TEXT.replace(",", "\t").encode()),
        ("a.csv", TEXT.rstrip("\n").encode()),
        ("a.CSV.gz", gzip.compress(TEXT.encode(), mtime=0)),
        ("a.csv.bz2", bz2.compress(TEXT.encode())),
        ("a.csv.xz", lzma.compress(TEXT.encode())),
        ("a.csv.zst", zstd(TEXT.encode())),
        ("a.zip", zipped(readme__md="no data", b__csv="id,name\n2,Bern\n", a__csv="id,name\n1,Zürich\n")),
        ("a.jsonl", b'{"id": 1, "name": "Z\xc3\xbcrich"}\n\n{"id": 2, "name": "Bern"}\n'),
        ("a.json", b'\xef\xbb\xbf[{"id": 1, "name": "Z\xc3\xbcrich"},\n {"id": 2, "name": "Bern"}]\n'),
        ("a.json.gz", gzip.compress(b'{"id": 1, "name": "Z\xc3\xbcrich"}\n{"id": 2, "name": "Bern"}\n')),
        ("a.xlsx", workbook({"one": [["id", "name"], [1, "Zürich"], [None, None], [2, "Bern"]]})),
    ],
    ids=named,
)
def test_same_rows_come_out_of_whatever_they_are_in(bench: Bench, name: str, data: bytes):
    done = bench.files(data, name)
    assert bench.table.to_pylist() == ROWS
    assert done.rows == 2
    assert done.columns == {"id": "int64", "name": "string"}


def test_header_skip_names_and_drop_are_as_declared(bench: Bench):
    bench.files("from the office\n1,2,3\n4,5,6\n", skip=1, header=False, names=["a", "b", "c"], drop="b")
    assert bench.table.to_pylist() == [{"a": 1, "c": 3}, {"a": 4, "c": 6}]


def test_declared_types_formats_and_signs_hold(bench: Bench):
    bench.files(
        "a;b;c;d\n1.234,5;31/12/24;1;x\n2;01/01/25;0;\n",
        columns={
            "a": {"type": "float32", "decimal": ",", "thousands": "."},
            "b": {"type": "timestamp", "formats": "%d/%m/%y"},
            "c": "boolean",
            "e": "int",
        },
    )
    first = bench.table.to_pylist()[0]
    assert first == {"a": 1234.5, "b": datetime(2024, 12, 31), "c": True, "d": "x", "e": None}  # noqa: DTZ001 no zone


def test_nested_json_becomes_columns_and_bad_lines_are_kept(bench: Bench):
    lines = [{"id": number, "at": {"x": number / 2}, "tags": ["a"]} for number in range(100)]
    text = "\n".join(map(json.dumps, lines)) + '\n{"id": broken}\n[1]\n{"id": "many"}\n'
    bench.files(text, "a.jsonl", max_bad_rows=0.1)
    assert bench.table.to_pylist()[3] == {"id": 3, "at.x": 1.5, "tags": '["a"]'}
    assert [(row["line"], row["reason"][:12]) for row in bench.quarantine] == [
        (101, "is not JSON:"), (102, "is a list, n"), (103, "id: 'many' i"),
    ]  # fmt: skip


def test_array_under_keys_is_streamed_and_its_bad_records_are_kept(bench: Bench):
    items = [{"id": number, "at": {"x": number / 2}} for number in range(50_000)]
    text = json.dumps({"meta": {"of": ["us"]}, "data": {"items": [*items, 7, {"id": "many"}]}, "more": {}})
    done = bench.files(text, "a.json", records="data.items")
    assert (done.rows, done.bad) == (50_000, 2)
    assert bench.table.to_pylist()[3] == {"id": 3, "at.x": 1.5}
    assert [row["reason"] for row in bench.quarantine] == [
        "is a int, not an object",
        "id: 'many' is not a whole number (int64)",
    ]
    unit = json.loads((bench.folder / "out/_ingest/provenance.json").read_text())["units"][0]
    assert unit["bytes"] == len(text)
    with pytest.raises(DataError, match=r"source\.records of a list that an object holds"):
        bench.files("{\n" + text[1:], "b.json")


def test_sheets_are_chosen_by_name_and_a_missing_one_lists_them(bench: Bench):
    data = workbook({"first": [["a"], [1]], "second": [["b"], [2]]})
    bench.files(data, "a.xlsx", sheet="second")
    assert bench.table.to_pylist() == [{"b": 2}]
    with pytest.raises(DataError, match="first, second"):
        sheet_rows(data, "third", 0, "a.xlsx")
    with pytest.raises(DataError, match="not a workbook"):
        sheet_rows(b"nothing", 0, 0, "a.xlsx")


def test_parquet_keeps_its_types_and_new_files_must_fit(bench: Bench):
    when = datetime(2026, 1, 1, tzinfo=UTC)
    table = pa.table(
        {
            "a": pa.array([1], pa.int16()),
            "w": pa.array([when], pa.timestamp("ms", "UTC")),
            "d": [date(2026, 1, 1)],
        }
    )
    folder = bench.folder / "raw"
    folder.mkdir()
    pq.write_table(table, folder / "1.parquet")
    source = {"kind": "files", "url": str(folder)}
    bench(source)
    assert bench.table.schema == table.schema
    pq.write_table(
        pa.table({"a": pa.array([2, 70_000], pa.int64()), "w": [when, when], "d": [None, None]}),
        folder / "2.parquet",
    )
    bench(source, max_bad_rows=0.5)
    assert bench.table["a"].to_pylist() == [1, 2]
    assert [row["reason"] for row in bench.quarantine] == ["a: '70000' is not a whole number (int16)"]


def test_column_that_nobody_has_seen_is_told(bench: Bench):
    (bench.folder / "raw").mkdir()
    source = {"kind": "files", "url": str(bench.folder / "raw")}
    for number, head in enumerate(["a,b", "a", "a,c"]):
        (bench.folder / "raw" / f"{number}.csv").write_text(
            f"{head}\n1,1\n"[: len(head) + 1] + "1,1\n"[: 2 * head.count(",") + 1] + "\n"
        )
        if head == "a,c":
            with pytest.raises(DataError, match="'c' that the first look"):
                bench(source)
        else:
            bench(source)
    assert bench.table.to_pylist() == [{"a": 1, "b": 1}, {"a": 1, "b": None}]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"", "holds no row"),
        ("a.bin", b"x", "source.format"),
        ("a.csv.gz", gzip.compress(TEXT.encode() * 1000, mtime=0)[:40], "damaged or cut short"),
        ("a.zip", b"PK nothing", "damaged or cut short"),
        ("a.zip", zipped(readme__md="x"), "readme.md"),
        ("a.parquet", b"PAR1 nothing", "is not Parquet"),
        ("a.csv", b"\x81\x8d,b\n1,2\n", None),
    ],
    ids=named,
)
def test_files_that_cannot_be_read_are_told_in_one_line(
    bench: Bench, name: str, data: bytes, said: str | None
):
    if said is None:
        assert encoding_of(data, None, name) == "latin-1"
        return
    with pytest.raises(DataError, match=said):
        bench.files(data, name)
    assert not (bench.folder / "out").exists()


def test_files_on_any_storage_are_read_and_written(bench: Bench):
    store = fsspec.filesystem("memory")
    store.pipe_file("/raw/1.csv", TEXT.encode())
    spec = {"to": "memory://clean", "max_bad_rows": 0.9}
    done = bench({"kind": "files", "url": "memory://raw/*.csv"}, **spec)
    assert done.rows == 2
    store.pipe_file("/raw/1.csv", b"id,name\n3,Basel\nx,y\n")
    assert bench({"kind": "files", "url": "memory://raw/*.csv"}, **spec).rows == 1
    files = [path for path in store.find("/clean") if path.endswith(".parquet")]
    assert len(files) == 2
    with store.open(next(path for path in files if "_ingest" not in path)) as file:
        assert pq.read_table(file).to_pylist() == [{"id": 3, "name": "Basel"}]
    store.rm("/clean", recursive=True)
    store.rm("/raw", recursive=True)


def test_files_of_the_web_are_fetched_again_where_they_broke_off(bench: Bench, serve: Callable[..., Any]):
    data = TEXT.encode() * 1
    tries = []

    def answer(method: str, path: str, headers: dict[str, str]):
        tag = {"etag": '"1"'}
        if method == "HEAD":
            return 200, {**tag}, data
        tries.append(headers.get("range"))
        if len(tries) == 1:
            return 200, {**tag, "content-length": str(len(data))}, data[:11]
        if len(tries) == 2:
            return 503, {"retry-after": "0"}, b""
        begin = int(headers["range"][6:-1])
        return 206, {**tag, "content-range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}, data[begin:]

    server = serve(answer)
    done = bench({"kind": "files", "url": f"{server.url}/a.csv?token=1"})
    assert bench.table.to_pylist() == ROWS
    assert tries == [None, "bytes=11-", "bytes=11-"]
    assert done.rows == 2
    assert bench({"kind": "files", "url": f"{server.url}/a.csv?token=1"}).units == 0
    assert len(tries) == 3


def test_missing_file_of_the_web_is_told(bench: Bench, serve: Callable[..., Any]):
    server = serve(lambda *_: (404, {}, b""))
    with pytest.raises(StorageError, match="404"):
        bench({"kind": "files", "url": f"{server.url}/a.csv"})


def test_format_is_known_by_the_name(tmp_path: Path):
    assert format_of("x/iris.data", None) == "csv"
    with pytest.raises(DataError, match=r"source\.format"):
        format_of("x/iris", None)


@pytest.mark.parametrize(
    ("source", "more", "said"),
    [
        ({"kind": "files", "url": "x", "delimeter": ";"}, {}, "did you mean delimiter"),
        (
            {"kind": "files", "url": "x"},
            {"columns": {"a": {"type": "date", "formats": "%d/%m"}}},
            "needs one of",
        ),
        (
            {"kind": "files", "url": "x"},
            {"columns": {"a": {"type": "int", "formats": "%Y"}}},
            "formats are for dates",
        ),
        ({"kind": "files", "url": "x"}, {"columns": {"a": {"type": "float", "thousands": "."}}}, "same sign"),
        ({"kind": "sql", "uri": "postgresql://me:secret@host/db", "table": "t"}, {}, "environment"),
        ({"kind": "sql", "uri": "sqlite:///x"}, {}, "table or a query"),
        ({"kind": "rest", "url": "http://x", "headers": {"Authorization": "Bearer abc"}}, {}, "environment"),
        ({"kind": "files", "url": "no/such*.csv"}, {}, "matches no file"),
    ],
)
def test_wrong_ingest_file_is_told_in_one_line(
    bench: Bench, source: dict[str, Any], more: dict[str, Any], said: str
):
    with pytest.raises((WorkflowError, InputError), match=said) as caught:
        bench(source, **more)
    assert "secret" not in str(caught.value).replace("holds a secret", "")
