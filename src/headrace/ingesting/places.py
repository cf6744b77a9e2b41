"""Where files are: paths, globs and URLs to what is to be read, with a stamp that changes when it does; opened unpacked."""

from __future__ import annotations

import bz2
import contextlib
import fnmatch
import gzip
import hashlib
import io
import lzma
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from headrace.data.files import file_url, natural_order
from headrace.data.storage import is_local, open_filesystem, storage_error
from headrace.errors import DataError
from headrace.ingesting.options import FilesSource, RestSource
from headrace.ingesting.web import Web, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from headrace.ingesting.sources import Work

PACKED = (".gz", ".bz2", ".xz", ".zst")
FORMATS = {
    ".csv": "csv", ".txt": "csv", ".data": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".json": "json", ".xlsx": "excel", ".xlsm": "excel", ".xls": "excel", ".xlsb": "excel", ".ods": "excel",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
STAMPS = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime", "updated")
BROKEN = (EOFError, zipfile.BadZipFile, lzma.LZMAError, gzip.BadGzipFile, OSError)


@dataclass(frozen=True)
class Place:
    """A file that is to be read."""

    url: str
    """Where it is, with credentials; never told."""
    name: str
    """What it is called, without credentials."""
    stamp: str
    """Changes when its content does."""


def find_places(source: FilesSource, work: Work) -> list[Place]:
    """List the files of a source, in the order of their names.

    Raises
    ------
    DataError
        A path or glob matches nothing.
    StorageError
        The storage cannot be read.
    """
    places: list[Place] = []
    for text in source.url:
        url = work.secrets.expand(text, "source.url")
        places += [_web_place(url, work)] if url.startswith(("http://", "https://")) else _found(url, text)
    return list({place.name: place for place in places}.values())


def format_of(name: str, declared: str | None) -> str:
    """Tell what a file is by its name, whatever it is packed in.

    Examples
    --------
    >>> format_of("a/Data.CSV.gz", None), format_of("x.bin", "tsv")
    ('csv', 'tsv')
    """
    if declared is not None:
        return declared
    path = PurePosixPath(name.lower())
    if path.suffix in PACKED:
        path = path.with_suffix("")
    known = FORMATS.get(path.suffix)
    if known is None:
        raise DataError(
            "its name does not say what it is", where=name, mend="give source.format: csv, for example"
        )
    return known


@contextlib.contextmanager
def raw_file(place: Place, work: Work) -> Iterator[BinaryIO]:
    """Open the bytes of a file; one on the web is fetched first, to the spool."""
    if place.url.startswith(("http://", "https://")):
        with _fetched(place.url, work).open("rb") as file:
            yield file
        return
    filesystem, path = open_filesystem(place.url)
    try:
        opened = Path(path).open("rb") if is_local(filesystem) else filesystem.open(path, "rb")  # noqa: SIM115 closed below
    except OSError as error:
        raise storage_error(error, place.name) from error
    with opened as file:
        yield cast("BinaryIO", file)


@contextlib.contextmanager
def streams(place: Place, member: str, work: Work) -> Iterator[Iterator[tuple[str, BinaryIO]]]:
    """Open a file unpacked: itself, or the members of a zip archive one after the other.

    Raises
    ------
    DataError
        It is damaged or cut short, or no member has a name that is asked for.
    """
    with raw_file(place, work) as file:
        if not place.name.lower().endswith(".zip"):
            with _unpacked(place.name, file) as stream:
                yield iter([(place.name, stream)])
            return
        with told(place.name):
            archive = zipfile.ZipFile(file)
        with archive:
            names = sorted(
                (
                    name
                    for name in archive.namelist()
                    if fnmatch.fnmatch(name, member)
                    and not name.endswith("/")
                    and not name.startswith("__MACOSX")
                    and (member != "*" or PurePosixPath(name.lower()).suffix in FORMATS)
                ),
                key=natural_order,
            )
            if not names:
                inside = ", ".join(archive.namelist()[:5])
                raise DataError(
                    f"no file in it is asked for; it has {inside}", where=place.name, mend="see source.member"
                )
            yield _members(archive, names, place.name)


def _members(archive: zipfile.ZipFile, names: list[str], where: str) -> Iterator[tuple[str, BinaryIO]]:
    for name in names:
        with archive.open(name) as file, _unpacked(name, cast("BinaryIO", file)) as stream:
            yield f"{where}/{name}", stream


@contextlib.contextmanager
def told(where: str) -> Iterator[None]:
    """Tell errors of packed files in one line."""
    try:
        yield
    except BROKEN as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"is damaged or cut short ({text})", where=where, mend="fetch it again") from error


@contextlib.contextmanager
def _unpacked(name: str, file: BinaryIO) -> Iterator[BinaryIO]:
    suffix = PurePosixPath(name.lower()).suffix
    if suffix == ".zst":
        with pa.CompressedInputStream(pa.PythonFile(file), "zstd") as stream:
            yield cast("BinaryIO", _Reader(stream))
        return
    if suffix == ".gz":
        with gzip.GzipFile(fileobj=file) as stream:
            yield cast("BinaryIO", stream)
    elif suffix == ".bz2":
        with bz2.BZ2File(file) as stream:
            yield cast("BinaryIO", stream)
    elif suffix == ".xz":
        with lzma.LZMAFile(file) as stream:
            yield cast("BinaryIO", stream)
    else:
        yield file


class _Reader(io.RawIOBase):
    """Arrow's stream with the `read` of Python's files."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return bytes(self._stream.read(None if size < 0 else size))


def sha256_of(file: BinaryIO) -> str:
    """SHA-256 of a file from where it stands; it is put back there."""
    here = file.tell()
    found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] # any readable file will do
    file.seek(here)
    return found


def _found(url: str, shown: str) -> list[Place]:
    filesystem, path = open_filesystem(url)
    try:
        if filesystem.isdir(path):
            details = filesystem.find(path, detail=True)
        else:
            details = (
                filesystem.glob(path, detail=True)
                if not filesystem.isfile(path)
                else {path: filesystem.info(path)}
            )
    except OSError as error:
        raise storage_error(error, shown) from error
    names = [
        name
        for name, info in details.items()
        if info.get("type") == "file" and not PurePosixPath(name).name.startswith((".", "_"))
    ]
    if not names:
        raise DataError("matches no file", where=shown, mend="check source.url")
    places = []
    for name in sorted(names, key=natural_order):
        info = details[name]
        stamp = next((str(info[key]) for key in STAMPS if info.get(key)), "")
        where = file_url(filesystem, name)
        places.append(Place(where, where, f"{info.get('size')} {stamp}"))
    return places


def _web_place(url: str, work: Work) -> Place:
    with _web(url, work) as web:
        stamp = web.stamp(url)
    if stamp is None:
        with _fetched(url, work).open("rb") as file:
            stamp = sha256_of(file)
    return Place(url, plain(url), stamp)


def _web(url: str, work: Work) -> Web:
    return Web(RestSource(kind="rest", url=plain(url)), {}, url, work.say)


def _fetched(url: str, work: Work) -> Path:
    folder = work.spool / "fetched"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(url.encode()).hexdigest()[:24]
    if not path.exists():
        with _web(url, work) as web:
            web.download(url, path)
    return path
