from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from headrace.data.directories import aside
from headrace.data.storage import exists, join, list_names, read_bytes, write_bytes
from headrace.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


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


def test_of_many_who_make_a_directory_one_wins(place: str) -> None:
    target = join(place, "1")

    def make(number: int) -> bool:
        try:
            with aside(target) as folder:
                (folder / "a").write_bytes(b"%d" % number)
                (folder / "manifest.json").write_bytes(b"%d" % number)
        except StorageError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(make, range(4)))
    assert sum(won) == 1
    assert list_names(target) == ["a", "manifest.json"]
    assert (
        read_bytes(join(target, "a")) == read_bytes(join(target, "manifest.json")) == b"%d" % won.index(True)
    )


def test_a_disk_that_fills_while_a_directory_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(StorageError, match="the disk is full"), aside(str(tmp_path / "run")) as folder:
        (folder / "a").write_bytes(b"1")
    assert list_names(str(tmp_path)) == []
