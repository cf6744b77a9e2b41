"""The order of chunks and rows, and the part of each row: pure functions of a seed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from headrace.accumulators.hashing import splitmix64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk

PARTS = ("train", "validation", "test")
"""The part of a row; its code is the position here."""

TRAIN, VALIDATION, TEST = range(3)


def chunk_order(chunks: int, *, seed: int, epoch: int) -> list[int]:
    """Order in which an epoch reads the chunks.

    Parameters
    ----------
    chunks : int
        Number of chunks.
    seed : int
        Seed of the run.
    epoch : int
        Counted from 1.

    Returns
    -------
    list of int
        A permutation of ``range(chunks)``.
    """
    return [int(i) for i in np.random.default_rng([seed, epoch]).permutation(chunks)]


def row_order(rows: int, *, seed: int, epoch: int, chunk: int) -> NDArray[np.int64]:
    """Order in which an epoch uses the rows of a chunk, shape (rows,)."""
    # As 32 bits, of which more stay in the cache: the same order in half the time.
    shuffled = np.random.default_rng([seed, epoch, chunk]).permutation(np.arange(rows, dtype=np.int32))
    return shuffled.astype(np.int64)


def row_keys(chunk: Chunk) -> NDArray[np.uint64]:
    """Return a 64-bit key of every row, shape (rows,): a hash of its file's name and its place in that file.

    The key of a row does not change when files are added or chunks are cut otherwise, nor with the filter that keeps
    it; a chunk that was read with one has the keys of the rows kept.
    """
    whole = _keys_of(tuple((piece.key, piece.first_row, piece.rows) for piece in chunk.pieces))
    return whole if chunk.kept is None else whole[chunk.kept]


# Everyone who looks at a chunk asks for its keys; a few chunks are looked at at a time.
@lru_cache(maxsize=4)
def _keys_of(runs: tuple[tuple[str, int, int], ...]) -> NDArray[np.uint64]:
    """Keys of runs of rows, each of a file, from a row, so many; read-only."""
    keys = []
    for name, first, rows in runs:
        base = np.uint64(xxhash.xxh3_64_intdigest(name.encode()))
        keys.append(splitmix64(np.arange(first, first + rows, dtype=np.uint64) + base))
    whole = np.concatenate(keys) if keys else np.empty(0, np.uint64)
    whole.flags.writeable = False
    return whole


def uniform(keys: NDArray[np.uint64], *, seed: int, salt: str) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) of the rows, independent between salts, shape (rows,)."""
    return (words(keys, seed=seed, salt=salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def words(keys: NDArray[np.uint64], *, seed: int, salt: str) -> NDArray[np.uint64]:
    """Random 64-bit words of the rows, independent between salts, shape (rows,)."""
    return splitmix64(keys ^ np.uint64(xxhash.xxh3_64_intdigest(f"{seed}:{salt}".encode())))


def _threshold(share: float) -> np.uint64:
    return np.uint64(min(int(share * 2.0**64), 2**64 - 1))


def parts_by_hash(
    keys: NDArray[np.uint64], *, test: float, validation: float, seed: int
) -> NDArray[np.uint8]:
    """Assign each row a part by its key.

    Parameters
    ----------
    keys : ndarray of uint64, shape (rows,)
        From `row_keys`.
    test, validation : float
        Shares of all rows.
    seed : int
        Seed of the run.

    Returns
    -------
    ndarray of uint8, shape (rows,)
        Codes into `PARTS`.
    """
    word = words(keys, seed=seed, salt="part")
    # As whole numbers, which spares turning every word into a float: TEST is one more than VALIDATION.
    parts = (word < _threshold(test + validation)).view(np.uint8)
    parts += word < _threshold(test)
    return parts


def parts_by_time(
    is_test: NDArray[np.bool_], keys: NDArray[np.uint64], *, validation: float, seed: int
) -> NDArray[np.uint8]:
    """Rows at or after a time are the test part; of the rows before it a hashed share is for validation."""
    parts = parts_by_hash(keys, test=0.0, validation=validation, seed=seed)
    parts[is_test] = TEST
    return parts
