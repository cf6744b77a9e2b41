from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from tests.faults.test_faulty_store import through
from tests.faulty import Faults
from tests.servers import READER_KEY, READER_SECRET, SECRET

from headrace.cli import run
from headrace.data.access import examine
from headrace.data.storage import write_bytes
from headrace.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Store

NAMES = ["credentials", "list", "write", "read", "create", "clock", "speed", "delete"]


def failed(url: str) -> dict[str, str]:
    return {each.name: f"{each.what}; {each.mend}" for each in examine(url) if each.status == "failed"}


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # of gcsfs
@pytest.mark.parametrize("store", ["local", "s3", "gcs"])
def test_a_sound_place(
    store: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(tmp_path) if store == "local" else request.getfixturevalue(store)
    assert run(["doctor", url]) == 0
    told = capsys.readouterr().out
    assert [line.split()[1] for line in told.splitlines()] == NAMES
    assert SECRET not in told
    assert ".headrace-doctor" not in "".join(fsspec.core.url_to_fs(url)[0].find(url))


def test_credentials_that_may_only_read(
    s3: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bytes(f"{s3}/a", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert run(["doctor", s3]) == 1
    told = capsys.readouterr().out
    assert "FAILED  write        permission denied (Access Denied.)" in told
    assert "mend: grant these credentials the right to write, or give others" in told
    assert READER_SECRET not in told


def test_no_credentials(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert "none were found" in failed(s3)["credentials"]


def test_a_store_that_is_not_there(s3_server: Store, s3: str) -> None:
    with through(s3_server, Faults(reset=1.0)):
        found = failed(s3)
    assert found["list"].startswith("the store does not answer")
    assert found["list"].endswith("check the address, the network and whether the store is up")


def test_a_store_that_does_not_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    def overwrite(self: MemoryFileSystem, path: str, value: bytes, mode: str = "") -> None:
        with self.open(path, "wb") as file:
            file.write(value)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", overwrite)
    assert "of 8 who created one object at once 8 succeeded, not one" in failed("memory://doctor")["create"]


def test_a_clock_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    late = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr(MemoryFileSystem, "modified", lambda *_: late)
    assert "this machine is 3600 s ahead of the store" in failed("memory://doctor")["clock"]


def test_an_unknown_protocol_is_wrong_input() -> None:
    with pytest.raises(InputError, match="nosuch"):
        examine("nosuch://a")
    assert run(["doctor", "nosuch://a"]) == 2
