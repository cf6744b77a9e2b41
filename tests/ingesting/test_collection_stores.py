"""Ingests from and to object stores: real S3 and Google servers."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import headrace as hr
from headrace.data.storage import join, list_names, read_bytes, read_json, remove_tree, write_bytes
from headrace.errors import DataError
from headrace.ingesting.collection import ingest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["s3", "gcs", "azure"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def put(store: str, name: str, numbers: range) -> None:
    text = "id,text\n" + "".join(f"{number},t{number}\n" for number in numbers)
    write_bytes(join(store, "raw", name), text.encode())


def spec(store: str, folder: Path, **more: Any) -> str:
    path = folder / "ingest.yaml"
    source = {"kind": "files", "url": join(store, "raw", "*.csv")}
    path.write_text(yaml.safe_dump({"to": join(store, "out"), "source": source, **more}))
    return str(path)


def ids(store: str) -> list[int]:
    read = [
        pq.read_table(pa.BufferReader(read_bytes(file.path))) for file in hr.Dataset(join(store, "out")).files
    ]
    return sorted(pa.concat_tables(read)["id"].to_pylist())


def parts(store: str) -> set[str]:
    return {name for name in list_names(join(store, "out")) if name.endswith(".parquet")}


def test_only_what_is_new_or_changed_is_read_again(store: str, tmp_path: Path) -> None:
    put(store, "1.csv", range(10))
    put(store, "2.csv", range(10, 20))
    file = spec(store, tmp_path)
    assert ingest(file).new_rows == 20
    assert ingest(file).units == 0
    put(store, "3.csv", range(20, 25))
    assert ingest(file).new_rows == 5
    put(store, "1.csv", range(100, 103))
    done = ingest(file)
    assert (done.new_rows, done.rows) == (3, 18)
    assert ids(store) == [*range(10, 25), 100, 101, 102]
    assert len(parts(store)) == 3
    assert [one["rows"] for one in read_json(done.provenance)["ingests"]] == [20, 5, 3]


def test_bad_rows_go_to_quarantine_and_folders_by_value_are_read(store: str, tmp_path: Path) -> None:
    write_bytes(join(store, "raw", "1.csv"), b"kind,n\n" + b"a,1\nb,2\n" * 50 + b"a,x\n")
    done = ingest(spec(store, tmp_path, write={"partition_by": "kind"}))
    assert (done.rows, done.bad) == (100, 1)
    assert done.quarantine is not None
    assert len(list_names(done.quarantine)) == 1
    data = hr.Dataset(join(store, "out"))
    assert (data.rows, set(data.schema.names)) == (100, {"n", "kind"})


KILLED = """
import os, signal, sys
from headrace.cli import main
from headrace.ingesting import publishing

write = publishing.write_json

def write_or_die(url, document):
    if sys.argv[3] == "sent":
        os.kill(os.getpid(), signal.SIGKILL)
    write(url, document)
    if url.endswith(publishing.STATE):
        os.kill(os.getpid(), signal.SIGKILL)

publishing.write_json = write_or_die
main(sys.argv[1:3])
"""
"""An ingest that is killed once its files are sent and before the state is, or before what is old is removed."""


@pytest.mark.parametrize("moment", ["sent", pytest.param("told", marks=pytest.mark.slow)])
def test_killed_midway_leaves_one_version_whole(store: str, tmp_path: Path, moment: str) -> None:
    put(store, "1.csv", range(10))
    put(store, "2.csv", range(10, 20))
    ingest(spec(store, tmp_path))
    before = parts(store)
    put(store, "1.csv", range(100, 110))
    file = spec(store, tmp_path, columns={"id": "int32"})  # another type: all is read and written anew
    done = subprocess.run([sys.executable, "-c", KILLED, "ingest", file, moment], check=False)
    assert done.returncode == -signal.SIGKILL
    assert before < parts(store)
    kind = hr.Dataset(join(store, "out")).schema.field("id").type
    old, new = list(range(20)), [*range(10, 20), *range(100, 110)]
    assert (str(kind), ids(store)) == (("int64", old) if moment == "sent" else ("int32", new))
    assert ingest(file).rows == 20
    assert ids(store) == new
    put(store, "3.csv", range(200, 201))
    ingest(file)
    assert ids(store) == [*new, 200]
    assert len(parts(store)) == 3
    assert not before & parts(store)


def test_a_published_file_that_is_gone_is_told(s3: str, tmp_path: Path) -> None:
    put(s3, "1.csv", range(10))
    put(s3, "2.csv", range(10))
    ingest(spec(s3, tmp_path))
    remove_tree(join(s3, "out", parts(s3).pop()))
    with pytest.raises(DataError, match="1 of 2 files that were published are not there"):
        hr.Dataset(join(s3, "out"))
