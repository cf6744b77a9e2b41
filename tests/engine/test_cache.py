"""The cache gives back what was put, or nothing; it stays within its limit and survives what happens to disks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.engine.cache import ArrayCache

if TYPE_CHECKING:
    from pathlib import Path


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def test_what_was_put_comes_back_bit_for_bit(tmp_path: Path) -> None:
    cache = ArrayCache(str(tmp_path / "blocks"), 1 << 20)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "data": np.array([1.5, np.nan, -0.0], np.float32),
        "codes": np.arange(5, dtype=np.uint16),
    }
    assert cache.get("key") is None
    cache.put("key", arrays)
    held = cache.get("key")
    assert held is not None
    assert {n: a.dtype for n, a in held.items()} == {n: a.dtype for n, a in arrays.items()}
    assert all(held[name].tobytes() == array.tobytes() for name, array in arrays.items())
    assert cache.get("other key") is None


def test_the_least_recently_used_goes_first_and_the_limit_holds(tmp_path: Path) -> None:
    cache = ArrayCache(str(tmp_path), 10_000)
    block = {"x": np.zeros(250)}
    for number in range(4):
        cache.put(f"block {number}", block)
        for path in tmp_path.iterdir():  # clocks may be coarser than this loop
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 1_000_000_000))
    assert cache.get("block 0") is not None
    for number in range(4, 7):
        cache.put(f"block {number}", block)
        assert size_of(tmp_path) <= 10_000
    assert cache.get("block 1") is None
    assert cache.get("block 0") is not None


def test_a_block_that_would_fill_the_cache_is_not_kept(tmp_path: Path) -> None:
    cache = ArrayCache(str(tmp_path), 1_000)
    cache.put("key", {"x": np.zeros(1_000)})
    assert cache.get("key") is None
    assert not list(tmp_path.iterdir())


def test_a_damaged_entry_counts_as_missing(tmp_path: Path) -> None:
    cache = ArrayCache(str(tmp_path), 1 << 20)
    cache.put("key", {"x": np.arange(1_000.0)})
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert cache.get("key") is None
    path.write_bytes(content[:100])
    assert cache.get("key") is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ArrayCache(str(tmp_path / "file" / "blocks"), 1 << 20)
    cache.put("key", {"x": np.zeros(3)})
    assert cache.get("key") is None
