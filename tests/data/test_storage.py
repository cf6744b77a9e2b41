from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from headrace.data.storage import (
    aside,
    exists,
    join,
    list_names,
    read_bytes,
    read_json,
    remove_tree,
    write_bytes,
    write_json,
)
from headrace.errors import InputError, StorageError

if TYPE_CHECKING:
    from pathlib import Path


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


def test_what_is_not_json_is_named(place: str) -> None:
    write_bytes(join(place, "x.json"), b"{")
    with pytest.raises(StorageError, match=r"x\.json: is not JSON"):
        read_json(join(place, "x.json"))


def test_infinite_numbers_are_refused(place: str) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(join(place, "x.json"), float("inf"))
    assert not exists(join(place, "x.json"))


def test_a_directory_appears_at_once(place: str) -> None:
    target = join(place, "run")
    with aside(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_bytes(b"1")
        (folder / "manifest.json").write_text("{}")
        assert not exists(target)
    assert read_bytes(join(target, "sub", "a")) == b"1"
    assert list_names(target) == ["manifest.json", "sub"]
    assert list_names(place) == ["run"]


def test_nothing_remains_of_a_directory_that_failed(place: str) -> None:
    def fill(folder: Path) -> None:
        (folder / "a").write_bytes(b"1")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), aside(join(place, "run")) as folder:
        fill(folder)
    assert list_names(place) == []


def test_an_occupied_place_is_refused(place: str) -> None:
    write_bytes(join(place, "run", "a"), b"1")
    with pytest.raises(StorageError, match="not empty"), aside(join(place, "run")):
        pass
    assert read_bytes(join(place, "run", "a")) == b"1"


def test_an_empty_directory_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with aside(str(tmp_path / "run")) as folder:
        (folder / "a").write_bytes(b"1")
    assert list_names(str(tmp_path / "run")) == ["a"]


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


def test_a_disk_that_fills_while_a_directory_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(StorageError, match="the disk is full"), aside(str(tmp_path / "run")) as folder:
        (folder / "a").write_bytes(b"1")
    assert list_names(str(tmp_path)) == []


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
