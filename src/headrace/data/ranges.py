"""Ranges of bytes of an object: joined where they are near, fetched together, offered to Arrow as a file."""

from __future__ import annotations

import errno
import io
import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from headrace.data import s3
from headrace.data.retrying import ShortReadError, patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pyarrow.parquet as pq

    Range = tuple[int, int]

GAP = 1 << 20
"""Bytes between two ranges that are fetched along: a request costs a store about as much as a mebibyte."""

LARGEST = 16 << 20
"""Bytes of a request; what is larger is fetched by several at once."""

TAIL = 64 << 10
"""Bytes at the end of a file that Arrow reads for its footer."""

SLACK = 100
"""Bytes that Arrow reads beyond a column chunk, for files of writers that left its header out of the size (PARQUET-816)."""


def column_ranges(metadata: pq.FileMetaData, groups: Iterable[int], leaves: Sequence[int]) -> list[Range]:
    """Say where some columns of some row groups lie: first byte and end of each column chunk."""
    ranges = []
    for number in groups:
        group = metadata.row_group(number)
        for leaf in leaves:
            column = group.column(leaf)
            start = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset:
                start = min(start, column.dictionary_page_offset)
            ranges.append((start, start + column.total_compressed_size + SLACK))
    return ranges


def coalesced(ranges: Iterable[Range], size: int) -> list[Range]:
    """Join ranges that are less than `GAP` apart, and part what is larger than `LARGEST`, all within `size` bytes.

    Examples
    --------
    >>> coalesced([(5_000_000, 5_000_010), (0, 100), (150, 300)], 5_000_005)
    [(0, 300), (5000000, 5000005)]
    """
    joined: list[list[int]] = []
    for start, end in sorted(ranges):
        if joined and start - joined[-1][1] <= GAP:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    parts = []
    for start, end in joined:
        stop = min(end, size)
        count = -(-(stop - start) // LARGEST)
        edges = (
            [start + (stop - start) * part // count for part in range(count)] + [stop] if count > 0 else []
        )
        parts += list(itertools.pairwise(edges))
    return parts


def read_tail(
    filesystem: Any,
    path: str,
    size: int,
    *,
    stamp: str = "",
    require_same: Callable[[], None] = lambda: None,
) -> pq.FileMetaData:
    """Read the footer of a Parquet object of known size by one request, or two where it is long.

    Parameters
    ----------
    filesystem, path, stamp, require_same
        As of `fetch`.
    size : int
        Bytes of the object.

    Raises
    ------
    pyarrow.ArrowException
        It is not Parquet, or damaged.
    OSError or an error of the library that reaches the store
        It cannot be read.
    """
    import pyarrow.parquet as pq

    ranges = [(max(0, size - TAIL), size)]
    parts = fetch(filesystem, path, ranges, stamp=stamp, require_same=require_same)
    length = int.from_bytes(parts[0][-8:-4], "little") + 8
    if len(parts[0]) < length <= size:
        rest = (size - length, ranges[0][0])
        parts = [*fetch(filesystem, path, [rest], stamp=stamp, require_same=require_same), *parts]
        ranges = [rest, *ranges]
    return pq.read_metadata(RangesFile(ranges, parts, size))


def fetch(
    filesystem: Any,
    path: str,
    ranges: Sequence[Range],
    *,
    stamp: str = "",
    require_same: Callable[[], None] = lambda: None,
) -> list[bytes]:
    """Read ranges of one object at once, each whole or not at all; what fails for a moment is read again.

    Where the answers of the store do not say of which object they are, it is looked at once more afterwards.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
        Where it is.
    path : str
        Within the file system.
    ranges : sequence of (int, int)
        First byte and end of each.
    stamp : str, optional
        What changes with the object: its etag, where the store has them.
    require_same : callable, optional
        Raises when the object is no longer the one that is meant.

    Returns
    -------
    list of bytes
        In the order of `ranges`.

    Raises
    ------
    OSError or an error of the library that reaches the store
        When it does not pass.
    """
    held: dict[int, bytes] = {}
    by_etag = s3.reads(filesystem)

    def fetch_missing() -> None:
        missing = [number for number in range(len(ranges)) if number not in held]
        if not missing:
            return
        failure: BaseException | None = None
        spans = [ranges[number] for number in missing]
        parts = (
            s3.read_ranges(filesystem, path, spans, stamp, require_same)
            if by_etag
            else filesystem.cat_ranges(
                [path] * len(spans), *map(list, zip(*spans, strict=True)), on_error="return"
            )
        )
        for number, part in zip(missing, parts, strict=True):
            wanted = ranges[number][1] - ranges[number][0]
            if isinstance(part, BaseException):
                failure = part
            elif len(part) > wanted:
                raise OSError(errno.ENOTSUP, "the server does not give ranges of a file")
            elif len(part) != wanted:
                failure = ShortReadError(f"gave {len(part)} bytes of {wanted}")
            else:
                held[number] = bytes(part)
        if isinstance(failure, ShortReadError):
            require_same()
        if failure is not None:
            raise failure

    patiently(fetch_missing)
    if not (by_etag and ranges):
        require_same()
    return [held[number] for number in range(len(ranges))]


class RangesFile(io.RawIOBase):
    """A file of which some ranges are held; reading anything else is a mistake of the program.

    Parameters
    ----------
    ranges : sequence of (int, int)
        First byte and end of each, rising; those that touch are read as one.
    parts : sequence of bytes
        What they hold.
    size : int
        Bytes of the file.
    """

    def __init__(self, ranges: Sequence[Range], parts: Sequence[bytes], size: int) -> None:
        super().__init__()
        self._starts = [start for start, _ in ranges]
        self._parts = [memoryview(part) for part in parts]
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Whether it can be read: it can."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read from anywhere: it can."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        self._position = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        )
        return self._position

    def tell(self) -> int:
        """Tell at which byte it is."""
        return self._position

    def read(self, size: int = -1) -> Any:
        """Read from where it is; without a copy when one range holds it all."""
        end = self._size if size < 0 else min(self._position + size, self._size)
        number = bisect_right(self._starts, self._position) - 1
        pieces = []
        while self._position < end:
            offset = self._position - self._starts[number]
            piece = self._parts[number][offset : offset + end - self._position]
            assert len(piece), "only ranges that were fetched are read"
            pieces.append(piece)
            self._position += len(piece)
            number += 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
