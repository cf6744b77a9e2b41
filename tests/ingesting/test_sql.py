from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from headrace.errors import DataError, InputError, StorageError
from headrace.ingesting.sql import cut, literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ingesting.conftest import Bench

ROWS = 20_000


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own on loopback; its URL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        pytest.skip("no PostgreSQL server is installed")
    folder = Path(tempfile.mkdtemp(prefix="headrace-pg-"))
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        user = "postgres"
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = Path(initdb).resolve().parent
    quiet: dict[str, Any] = {
        "user": user,
        "cwd": folder,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    password = folder / "password"
    password.write_text("s3cret/pass")
    password.chmod(0o644)
    subprocess.run(
        [home / "initdb", "-D", folder / "data", "-U", "me", "-A", "scram-sha-256", "--pwfile", password, "--no-sync"],
        check=True, **quiet,
    )  # fmt: skip
    options = [
        "-c",
        f"port={port}",
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        f"unix_socket_directories={folder}",
        "-c",
        "fsync=off",
    ]
    server = subprocess.Popen([home / "postgres", "-D", folder / "data", *options], **quiet)
    try:
        for _ in range(200):
            ready = subprocess.run(
                [home / "pg_isready", "-h", "127.0.0.1", "-p", str(port)], check=False, **quiet
            )
            if ready.returncode == 0:
                break
            time.sleep(0.1)
        yield f"postgresql://me:{{}}@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder)


@pytest.fixture
def database(postgres: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL as an ingest file holds it; the password is in the environment."""
    monkeypatch.setenv("PG_PASSWORD", "s3cret%2Fpass")
    return postgres.format("${PG_PASSWORD}")


def execute(url: str, *statements: str) -> None:
    from adbc_driver_postgresql import dbapi

    with (
        dbapi.connect(url.replace("${PG_PASSWORD}", "s3cret%2Fpass"), autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)


def fill(url: str, rows: int) -> None:
    execute(
        url,
        "DROP TABLE IF EXISTS visits",
        'CREATE TABLE visits (id bigint, "when" timestamptz, price numeric(12,2), place text, ok boolean)',
        "INSERT INTO visits SELECT i, timestamptz '2026-01-01 00:00+00' + i * interval '1 minute', i / 4.0, "
        f"'place ' || i % 7, i % 2 = 0 FROM generate_series(1, {rows}) AS i",
    )


def lite(path: Path, rows: int = ROWS) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE visits (id INTEGER, price REAL, place TEXT)")
        connection.executemany(
            "INSERT INTO visits VALUES (?, ?, ?)", ((i, i / 4, f"place {i % 7}") for i in range(1, rows + 1))
        )
    connection.close()
    return f"sqlite:///{path}"


def whole(bench: Bench, rows: int) -> bool:
    return sorted(bench.table["id"].to_pylist()) == list(range(1, rows + 1))


def test_postgres_is_read_in_ranges_with_its_types_and_no_password_is_kept(bench: Bench, database: str):
    fill(database, ROWS)
    done = bench({"kind": "sql", "uri": database, "table": "public.visits", "key": "id", "partitions": 5})
    assert done.columns == {
        "id": "int64", "when": "timestamp[us, tz=UTC]", "price": "double", "place": "string", "ok": "bool",
    }  # fmt: skip
    assert done.units == 6
    assert whole(bench, ROWS)
    assert bench.table["price"].to_pylist()[7] == 2.0
    written = [path.read_bytes() for path in bench.folder.rglob("*") if path.is_file()]
    assert not [True for data in written if b"s3cret" in data]
    assert "s3cret" not in "".join(bench.lines)


def test_postgres_rows_after_the_watermark_are_added(bench: Bench, database: str):
    fill(database, 100)
    source = {
        "kind": "sql",
        "uri": database,
        "query": 'SELECT id, "when" FROM visits',
        "key": "id",
        "watermark": "when",
    }
    assert bench(source).rows == 100
    assert bench(source).new_rows == 0
    execute(
        database,
        "INSERT INTO visits SELECT i, timestamptz '2026-06-01 00:00+00' + i * interval '1 minute' FROM generate_series(101, 150) AS i",
    )
    assert bench(source).new_rows == 50
    assert bench(source).new_rows == 0
    assert whole(bench, 150)


def test_postgres_errors_are_one_line_without_the_password(
    bench: Bench, database: str, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(StorageError, match="no_such_table"):
        bench({"kind": "sql", "uri": database, "table": "no_such_table"})
    monkeypatch.setenv("PG_PASSWORD", "wr0ng")
    with pytest.raises(StorageError) as caught:
        bench({"kind": "sql", "uri": database, "table": "visits"})
    assert "wr0ng" not in str(caught.value)
    assert "wr0ng" not in repr(caught.value.__cause__)


def test_sqlite_is_read_whole_again_when_nothing_grows(bench: Bench):
    uri = lite(bench.folder / "a.db", 1000)
    source = {"kind": "sql", "uri": uri, "table": "visits", "key": "id"}
    assert bench(source).columns == {"id": "int64", "price": "double", "place": "string"}
    assert bench(source).rows == 1000
    assert whole(bench, 1000)


def test_sqlite_values_of_another_type_go_to_quarantine_and_floats_are_exact(bench: Bench):
    uri = lite(bench.folder / "a.db", 30_000)
    with sqlite3.connect(bench.folder / "a.db") as connection:
        connection.execute("UPDATE visits SET price = 'much' WHERE id = 25000")
        connection.execute("UPDATE visits SET price = 0.1 + 0.2 WHERE id = 1")
    connection.close()
    bench({"kind": "sql", "uri": uri, "table": "visits", "key": "id", "partitions": 1})
    assert [(row["line"], row["reason"]) for row in bench.quarantine] == [
        (25_000, "price: 'much' is not a number")
    ]
    assert bench.table["price"].to_pylist()[0] == 0.1 + 0.2
    assert bench.table.num_rows == 29_999
    assert "one by one" in " ".join(bench.lines)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_killed_midway_and_run_again_no_row_is_lost_or_doubled(
    bench: Bench, kind: str, request: pytest.FixtureRequest
):
    if kind == "postgres":
        uri = request.getfixturevalue("database")
        fill(uri, ROWS)
    else:
        uri = lite(bench.folder / "a.db")
    source = {"kind": "sql", "uri": uri, "table": "visits", "key": "id", "partitions": 12}
    spec = bench.spec(source)
    code = "from headrace.cli import main; main()"
    units = bench.folder / ".out.ingest" / "units"
    for wanted in (1, 7):
        process = subprocess.Popen([sys.executable, "-c", code, "ingest", spec], stderr=subprocess.DEVNULL)
        while process.poll() is None and not (
            units.exists() and sum(1 for _ in units.glob("[!.]*")) >= wanted
        ):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (bench.folder / "out").exists()
    done = bench(source)
    assert done.rows == ROWS
    assert whole(bench, ROWS)
    assert sum("read before" in line for line in bench.lines) >= 7


def test_key_and_database_that_do_not_fit_are_told(bench: Bench):
    uri = lite(bench.folder / "a.db", 10)
    with pytest.raises(InputError, match="holds str"):
        bench({"kind": "sql", "uri": uri, "table": "visits", "key": "place"})
    with pytest.raises(DataError, match="no such database"):
        bench({"kind": "sql", "uri": f"sqlite:///{bench.folder}/none.db", "table": "visits"})
    with pytest.raises(InputError, match="PostgreSQL"):
        bench({"kind": "sql", "uri": "mysql://host/db", "table": "visits"})


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0, 99),
        (-7, 5),
        (3, 3),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
        (date(2026, 1, 1), date(2026, 1, 9)),
    ],
)
@pytest.mark.parametrize("parts", [1, 2, 7])
def test_ranges_touch_and_cover(low: Any, high: Any, parts: int):
    ranges = cut(low, high, parts)
    assert ranges[0][0] == low
    assert ranges[-1][1:] == (high, True)
    assert all(left[1] == right[0] and not left[2] for left, right in pairwise(ranges))
    assert literal(low)


@pytest.mark.scale
def test_five_million_rows_of_postgres_in_flat_memory(bench: Bench, database: str):
    fill(database, 5_000_000)
    spec = bench.spec({"kind": "sql", "uri": database, "table": "visits", "key": "id", "partitions": 20})
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 29, 1 << 29))\n"
        "from headrace.cli import main; main()"
    )
    units = bench.folder / ".out.ingest" / "units"
    process = subprocess.Popen([sys.executable, "-c", code, "ingest", spec], stderr=subprocess.DEVNULL)
    while process.poll() is None and not (units.exists() and sum(1 for _ in units.glob("[!.]*")) >= 8):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([sys.executable, "-c", code, "ingest", spec], check=True)
    assert bench.table["id"].sort().to_numpy().tolist() == list(range(1, 5_000_001))
