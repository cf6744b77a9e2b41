from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import fsspec
import pytest
from tests.faulty import Faults, before
from tests.servers import READER_KEY, READER_SECRET

from headrace.data.storage import (
    create,
    creates_once,
    exists,
    join,
    list_names,
    read_bytes,
    read_json,
    remove_file,
    remove_tree,
    write_bytes,
    write_json,
    write_pieces,
)
from headrace.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import Store


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_bytes_and_documents_come_back(place: str) -> None:
    write_bytes(join(place, "a", "b.bin"), b"\x00\x01")
    write_json(join(place, "a", "c.json"), {"grüße": [1, 2.5, None]})
    assert read_bytes(join(place, "a", "b.bin")) == b"\x00\x01"
    assert read_json(join(place, "a", "c.json")) == {"grüße": [1, 2.5, None]}
    assert exists(join(place, "a"))
    assert list_names(join(place, "a")) == ["b.bin", "c.json"]
    assert list_names(place) == ["a"]


def test_a_write_replaces_the_file(place: str) -> None:
    write_bytes(join(place, "x"), b"old")
    write_bytes(join(place, "x"), b"new")
    assert read_bytes(join(place, "x")) == b"new"
    assert list_names(place) == ["x"]


def test_a_file_of_pieces_is_whole_or_the_old_one(place: str) -> None:
    write_pieces(join(place, "x"), (b"%d," % number for number in range(3)))
    assert read_bytes(join(place, "x")) == b"0,1,2,"

    def broken() -> Iterator[bytes]:
        yield b"new"
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - its own
        write_pieces(join(place, "x"), broken())
    assert read_bytes(join(place, "x")) == b"0,1,2,"
    assert list_names(place) == ["x"]


def test_what_is_missing(place: str) -> None:
    assert not exists(place)
    assert list_names(place) == []
    remove_tree(place)
    with pytest.raises(StorageError, match="does not exist"):
        read_bytes(join(place, "x"))


def test_a_tree_is_removed(place: str) -> None:
    write_bytes(join(place, "a", "b"), b"1")
    remove_tree(place)
    assert not exists(join(place, "a", "b"))


def test_a_file_is_removed_and_one_that_is_missing_is_no_error(place: str) -> None:
    write_bytes(join(place, "a"), b"1")
    write_bytes(join(place, "b"), b"2")
    for _ in range(2):
        remove_file(join(place, "a"))
    assert list_names(place) == ["b"]


def test_what_is_not_json_is_named(place: str) -> None:
    write_bytes(join(place, "x.json"), b"{")
    with pytest.raises(StorageError, match=r"x\.json: is not JSON"):
        read_json(join(place, "x.json"))


def test_infinite_numbers_are_refused(place: str) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(join(place, "x.json"), float("inf"))
    assert not exists(join(place, "x.json"))


def test_of_many_who_create_a_file_one_wins(place: str) -> None:
    url = join(place, "lock")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: create(url, b"%d" % number), range(8)))
    assert sum(won) == 1
    assert read_bytes(url) == b"%d" % won.index(True)
    assert not create(url, b"late")
    assert list_names(place) == ["lock"]
    assert creates_once(url)


def test_where_names_cannot_be_linked_one_wins_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert create(str(tmp_path / "x"), b"1")
    assert not create(str(tmp_path / "x"), b"2")
    assert read_bytes(str(tmp_path / "x")) == b"1"
    assert list_names(str(tmp_path)) == ["x"]


def test_a_store_that_cannot_lock_says_so() -> None:
    assert not creates_once("sftp://host/run")


def test_what_another_process_writes_is_seen(s3: str) -> None:
    write_bytes(join(s3, "a"), b"1")
    assert list_names(s3) == ["a"]
    other = fsspec.filesystem("s3", skip_instance_cache=True)
    other.pipe_file(join(s3, "b").removeprefix("s3://"), b"2")
    assert list_names(s3) == ["a", "b"]
    assert exists(join(s3, "b"))


def test_a_file_on_a_store_is_written_and_removed_by_one_request(
    s3_server: Store, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(s3_server.environment["AWS_ENDPOINT_URL"].rpartition(":")[2])
    with before(port, Faults(), seed=0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        write_bytes(join(s3, "a"), b"1")
        assert create(join(s3, "b"), b"2")
        remove_file(join(s3, "a"))
    assert [request.split()[0] for request in proxy.seen] == ["PUT", "PUT", "DELETE"]
    assert proxy.seen.total() == 3


def test_a_store_that_refuses_is_told_in_one_line(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(join(s3, "a"), b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert read_bytes(join(s3, "a")) == b"1"
    for write in (write_bytes, create):
        with pytest.raises(StorageError, match="permission denied; check the rights of this user"):
            write(join(s3, "b"), b"2")


def test_a_full_disk_is_one_line_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "x")
    write_bytes(url, b"old")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(StorageError, match="x: the disk is full; free space") as caught:
        write_bytes(url, b"new")
    assert caught.value.exit_code == 1
    assert read_bytes(url) == b"old"
    assert list_names(str(tmp_path)) == ["x"]


def test_a_file_where_a_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(StorageError, match="a file is in the way"):
        write_bytes(str(tmp_path / "x" / "y"), b"")


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(InputError, match="nosuch"):
        exists("nosuch://a")


@pytest.mark.parametrize(
    ("base", "names", "joined"),
    [
        ("/a/", ("b",), "/a/b"),
        ("a", ("b", "c"), "a/b/c"),
        ("s3://bucket", ("k",), "s3://bucket/k"),
        ("memory://", ("k",), "memory://k"),
        ("/", ("k",), "/k"),
    ],
)
def test_join(base: str, names: tuple[str, ...], joined: str) -> None:
    assert join(base, *names) == joined
