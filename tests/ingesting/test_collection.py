from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

import headrace as hr
from headrace.cli import run as command
from headrace.errors import InputError, RunError, WorkflowError
from headrace.ingesting import publishing
from headrace.ingesting.credentials import Secrets
from headrace.ingesting.staging import open_staging

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingesting.conftest import Bench


def write(path: Path, numbers: range) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("id,text\n" + "".join(f"{number},t{number}\n" for number in numbers))


def published(bench: Bench) -> dict[str, bytes]:
    out = bench.folder / "out"
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_run_again_reads_what_is_new_or_changed_and_is_otherwise_the_same(bench: Bench):
    source = {"kind": "files", "url": str(bench.folder / "raw" / "*.csv")}
    write(bench.folder / "raw" / "1.csv", range(10))
    write(bench.folder / "raw" / "2.csv", range(10, 20))
    assert bench(source).new_rows == 20
    before = published(bench)
    assert bench(source).units == 0
    assert published(bench) == before
    write(bench.folder / "raw" / "3.csv", range(20, 25))
    assert bench(source).new_rows == 5
    assert bench.table["id"].to_pylist() == list(range(25)) or sorted(bench.table["id"].to_pylist()) == list(
        range(25)
    )
    write(bench.folder / "raw" / "1.csv", range(100, 103))
    done = bench(source)
    assert (done.new_rows, done.rows) == (3, 18)
    assert sorted(bench.table["id"].to_pylist()) == [*range(10, 25), 100, 101, 102]
    provenance = json.loads((bench.folder / "out/_ingest/provenance.json").read_text())
    assert [one["rows"] for one in provenance["ingests"]] == [20, 5, 3]


def test_another_type_in_the_file_reads_all_anew(bench: Bench):
    source = {"kind": "files", "url": str(bench.folder / "raw" / "*.csv")}
    write(bench.folder / "raw" / "1.csv", range(10))
    bench(source)
    done = bench(source, columns={"id": "float32"})
    assert (done.new_rows, done.rows) == (10, 10)
    assert str(bench.table.schema.field("id").type) == "float"


def test_too_many_bad_rows_publish_nothing_and_say_where_they_are(bench: Bench):
    source = {"kind": "files", "url": str(bench.folder / "raw" / "*.csv")}
    write(bench.folder / "raw" / "1.csv", range(100))
    bench(source)
    before = published(bench)
    (bench.folder / "raw" / "2.csv").write_text("id,text\n" + "x,y\n" * 5 + "1,a\n" * 95)
    with pytest.raises(RunError, match=r"5 of 100 rows do not parse, 5.00%") as caught:
        bench(source)
    assert published(bench) == before
    path = caught.value.mend.split("see ")[1].split(",")[0]
    assert pq.ParquetFile(path).read().num_rows == 5
    assert bench(source, max_bad_rows=0.05).bad == 5
    assert any("read before" in line for line in bench.lines)
    assert {row["source"] for row in bench.quarantine} == {str(bench.folder / "raw" / "2.csv")}


def test_folders_row_groups_and_files_are_as_asked(bench: Bench):
    text = "kind,n\n" + "".join(f"{'a/b' if number % 3 else ''},{number}\n" for number in range(1000))
    bench.files(text, write={"row_group": 100, "file": 250, "partition_by": "kind", "compression": "zstd"})
    data = hr.Dataset(str(bench.folder / "out"))
    assert data.rows == 1000
    paths = sorted((bench.folder / "out").glob("kind=*/*.parquet"))
    assert {path.parent.name for path in paths} == {"kind=a%2Fb", "kind=__HIVE_DEFAULT_PARTITION__"}
    sizes = [pq.ParquetFile(path).metadata for path in paths]
    assert max(meta.num_rows for meta in sizes) == 250
    assert max(meta.row_group(i).num_rows for meta in sizes for i in range(meta.num_row_groups)) == 100
    numbers = [n for path in paths for n in pq.ParquetFile(path).read()["n"].to_pylist()]
    assert sorted(numbers) == list(range(1000))
    with pytest.raises(InputError, match="columns: kind, n"):
        bench.files(text, write={"partition_by": "sort"})


def test_provenance_holds_what_is_to_be_known(bench: Bench):
    bench.files("a\n1\nx\n" + "2\n" * 98, notes={"licence": "CC BY 4.0", "consent": "asked in 2025"})
    document = json.loads((bench.folder / "out/_ingest/provenance.json").read_text())
    assert document["notes"]["licence"] == "CC BY 4.0"
    assert document["notes"]["consent"] == "asked in 2025"
    assert (document["rows"], document["bad_rows"]) == (99, 1)
    unit = document["units"][0]
    assert len(next(iter(unit["sha256"].values()))) == 64
    assert unit["files"]
    assert all(len(file["sha256"]) == 64 for file in unit["files"].values())
    assert document["ingests"][0]["time"].endswith("+00:00")
    assert document["source"]["url"] == [str(bench.folder / "in.csv")]


def test_what_is_not_an_ingest_is_never_replaced(bench: Bench):
    (bench.folder / "out").mkdir()
    (bench.folder / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="something else"):
        bench.files("a\n1\n")
    assert (bench.folder / "out" / "mine.txt").read_text() == "mine"


def test_two_ingests_to_one_place_do_not_meet(bench: Bench):
    with open_staging(str(bench.folder / "out")), pytest.raises(RunError, match="another process"):
        bench.files("a\n1\n")


def test_exchange_of_systems_that_have_none_is_put_right(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    source = {"kind": "files", "url": str(bench.folder / "raw" / "*.csv")}
    write(bench.folder / "raw" / "1.csv", range(10))
    bench(source)
    monkeypatch.setattr(publishing, "_exchange", lambda *_: False)
    write(bench.folder / "raw" / "2.csv", range(10, 20))
    assert bench(source).rows == 20
    (bench.folder / "out").rename(
        bench.folder / ".out.ingest" / "old"
    )  # a process has died between the two steps
    assert bench(source).rows == 20
    assert bench.table.num_rows == 20


@pytest.mark.parametrize("moment", [0.0, 0.5, 0.95])
def test_killed_midway_leaves_the_published_version_whole(bench: Bench, moment: float):
    """Ingests of many files are killed after a share of them; a reader sees the old rows, then the new ones."""
    source = {"kind": "files", "url": str(bench.folder / "raw" / "*.csv")}
    write(bench.folder / "raw" / "000.csv", range(100))
    bench(source)
    before = published(bench)
    for number in range(1, 13):
        write(bench.folder / "raw" / f"{number:03}.csv", range(number * 100, number * 100 + 100))
    units = bench.folder / ".out.ingest" / "units"
    process = subprocess.Popen(
        [sys.executable, "-c", "from headrace.cli import main; main()", "ingest", bench.spec(source)],
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not (
        units.exists() and sum(1 for _ in units.glob("[!.]*")) >= 1 + 12 * moment
    ):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    now = published(bench)
    assert now == before or hr.Dataset(str(bench.folder / "out")).rows == 1300
    assert bench(source).rows == 1300
    assert sorted(bench.table["id"].to_pylist()) == list(range(1300))


def test_one_large_file_killed_midway_is_read_again(bench: Bench):
    write(bench.folder / "in.csv", range(300_000))
    spec = bench.spec({"kind": "files", "url": str(bench.folder / "in.csv")})
    process = subprocess.Popen(
        [sys.executable, "-c", "from headrace.cli import main; main()", "ingest", spec],
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not list((bench.folder / ".out.ingest").rglob("*.parquet")):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert bench({"kind": "files", "url": str(bench.folder / "in.csv")}).rows == 300_000
    assert bench.table["id"].to_pylist() == list(range(300_000))


def test_command_prints_one_document_and_progress_on_stderr(bench: Bench, capsys: pytest.CaptureFixture[str]):
    (bench.folder / "in.csv").write_text("a\n1\n")
    spec = bench.spec({"kind": "files", "url": str(bench.folder / "in.csv")})
    assert command(["ingest", spec, "--json"]) == 0
    captured = capsys.readouterr()
    document: dict[str, Any] = json.loads(captured.out)
    assert document["rows"] == 1
    assert document["memory_peak"] > 0
    assert "in.csv: 1 rows" in captured.err
    assert command(["ingest", spec]) == 0
    assert "nothing new" in capsys.readouterr().out
    assert command(["ingest", str(bench.folder / "none.yaml")]) == 2


def test_secrets_are_hidden_in_every_form(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOKEN", "a/b c")
    secrets = Secrets()
    assert secrets.expand("x-${TOKEN}", "k") == "x-a/b c"
    told = secrets.hide("a/b c, a%2Fb%20c, a%2Fb+c and http://me:word@host/")
    assert told == "${TOKEN}, ${TOKEN}, ${TOKEN} and http://me:***@host/"
    with pytest.raises(WorkflowError, match="no variable NOT_SET"):
        secrets.expand("${NOT_SET}", "source.uri")
    assert "a/b" not in repr(secrets)
    assert os.environ["TOKEN"]
