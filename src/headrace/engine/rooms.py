"""Memory of large arrays that is used again for the next.

What the system gives anew it clears first, and what a virtual machine has given back to its host takes longer to get once
more than to fill.
"""

from __future__ import annotations

import mmap
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

LEAST = 16 << 20
"""Bytes from which an array has a room: smaller ones the allocator itself uses again."""
ROUNDED = 1 << 20
"""Rooms are whole multiples of so many bytes, for chunks differ by a few rows."""
IDLE_SECONDS = 2.0
"""What nobody has used for so long is let go of when the next chunk is read."""

_free: list[tuple[float, NDArray[np.uint8]]] = []
"""When each was put back, and the memory."""
_lock = threading.RLock()
"""One that a thread may take twice: any statement may end a cycle of objects, and with it an array."""


class _Room:
    """Memory lent to one array, by the protocol that numpy reads; it is free when neither the array nor a view of it is left."""

    def __init__(self, memory: NDArray[np.uint8], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.__array_interface__ = {**memory.__array_interface__, "shape": shape, "typestr": dtype.str}
        weakref.finalize(self, _put_back, memory).atexit = False


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of any content, in the memory of one that is no longer used where there is such.

    There is never more memory than was in use at one time: where none fits, all that is free is let go of.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
        Of numbers.
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if size < LEAST:
        return np.empty(shape, kind)
    return np.asarray(_Room(_take(-(-size // ROUNDED) * ROUNDED), shape, kind))


def tidy(idle: float = IDLE_SECONDS) -> None:
    """Let go of the memory that no array has used for so many seconds."""
    with _lock:
        now = time.monotonic()
        _free[:] = [(since, memory) for since, memory in _free if now - since < idle]


def _take(size: int) -> NDArray[np.uint8]:
    with _lock:
        for i, (_, memory) in enumerate(_free):
            if len(memory) == size:
                return _free.pop(i)[1]
        _free.clear()
    # Not numpy's own, which asks for huge pages: to clear them took up to half a second of CPU in 20 million rows (docs/performance.md).
    return np.frombuffer(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), dtype=np.uint8)


def _put_back(memory: NDArray[np.uint8]) -> None:
    with _lock:
        _free.append((time.monotonic(), memory))
