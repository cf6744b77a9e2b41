"""What an ingest has read and not published: units on this machine's disk, whole or not there; one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.data.storage import is_local, open_filesystem, storage_error
from headrace.errors import RunError
from headrace.ingesting.columns import Layout
from headrace.ingesting.quarantine import Quarantine
from headrace.ingesting.sources import digest
from headrace.ingesting.writing import Parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from headrace.ingesting.batches import Batch
    from headrace.ingesting.options import WriteOptions
    from headrace.ingesting.sources import Unit

UNIT = "unit.json"
QUARANTINE = "quarantine.parquet"
DATA = "data"


@dataclass(frozen=True)
class StagedUnit:
    """A unit that has been read to its end."""

    key: str
    """Short name that is the same only for the same content."""
    name: str
    """What it is."""
    label: str
    """For people."""
    rows: int
    """Rows that parse."""
    bad: int
    """Rows in quarantine."""
    files: dict[str, dict[str, Any]]
    """Path below the dataset to rows, bytes and SHA-256."""
    seconds: float
    """Time that reading took."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the source tells: hashes, bytes, the query."""

    @property
    def quarantine(self) -> str:
        """Name of its quarantine file, were there bad rows."""
        return f"{self.key}.parquet"


class Staging:
    """A directory for one destination and one ingest file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self._spec = ""

    def begin(self, spec: str) -> None:
        """Keep what a killed ingest of the same file has left; drop that of another.

        Parameters
        ----------
        spec : str
            Hash of the ingest file and of what is published, so that it is new after each publication.
        """
        self._spec = spec
        mark = self.folder / "spec"
        if not mark.exists() or mark.read_text() != spec:
            self.clear()
            mark.write_text(spec)
        self.spool.mkdir(exist_ok=True)
        shutil.rmtree(self.folder / "next", ignore_errors=True)

    def clear(self) -> None:
        """Drop all but the lock."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()

    def forget_spool(self) -> None:
        """Drop what has been fetched, so that the next ingest asks the source again; units that were read stay."""
        shutil.rmtree(self.spool, ignore_errors=True)

    def layout(self) -> Layout | None:
        """Read the names and types that were found, if they were."""
        path = self.folder / "layout.json"
        return Layout.from_dict(json.loads(path.read_text())) if path.exists() else None

    def keep_layout(self, layout: Layout) -> None:
        """Keep names and types for whoever goes on."""
        _write(self.folder / "layout.json", layout.to_dict())

    def unit(self, key: str) -> StagedUnit | None:
        """Return a unit that has been read."""
        path = self.unit_folder(key) / UNIT
        return StagedUnit(**json.loads(path.read_text())) if path.exists() else None

    def unit_folder(self, key: str) -> Path:
        """Where a unit that has been read is."""
        return self.folder / "units" / key

    def read(
        self,
        unit: Unit,
        place: int,
        batches: Iterable[Batch],
        layout: Layout,
        options: WriteOptions,
        facts: dict[str, Any],
        progress: Callable[[int, int], None],
    ) -> StagedUnit:
        """Write a unit aside; when this returns it is whole, and outlives a power cut.

        Files are named by the place of the unit among all, so readers that sort names keep the order of the source, and by
        the ingest, so that none takes the name of a file that is published.
        """
        started = time.monotonic()
        home = self.unit_folder(unit.key)
        aside = home.with_name(f".{unit.key}")
        shutil.rmtree(aside, ignore_errors=True)
        (aside / DATA).mkdir(parents=True)
        parts = Parts(
            aside / DATA, layout.schema, options, f"part-{place:05}-{digest([self._spec, unit.key])[:8]}"
        )
        quarantine = Quarantine(aside / QUARANTINE, unit.label)
        rows = 0
        try:
            for batch in batches:
                parts.write(batch.table)
                quarantine.add(batch.bad)
                rows += batch.table.num_rows
                progress(rows, quarantine.rows)
            parts.close()
            quarantine.close()
            files = {
                path.relative_to(aside / DATA).as_posix(): _described(path) for path in _files(aside / DATA)
            }
            seconds = round(time.monotonic() - started, 3)
            staged = StagedUnit(unit.key, unit.name, unit.label, rows, quarantine.rows, files, seconds, facts)
            _write(aside / UNIT, staged.__dict__)
            shutil.rmtree(home, ignore_errors=True)
            aside.rename(home)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise storage_error(error, str(aside)) from error
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        return staged


@contextlib.contextmanager
def open_staging(to: str) -> Iterator[Staging]:
    """Open the staging directory of a destination: beside it when it is local, else in the user's cache.

    Raises
    ------
    RunError
        Another process ingests to the same destination.
    """
    filesystem, path = open_filesystem(to)
    if is_local(filesystem):
        folder = Path(path).parent / f".{Path(path).name}.ingest"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = cache / "headrace" / "ingest" / hashlib.sha256(to.encode()).hexdigest()[:24]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise storage_error(error, str(folder)) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                "another process ingests to it", where=to, mend="wait until that has ended"
            ) from None
        yield Staging(folder)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.parquet") if path.is_file())


def _described(path: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    with pq.ParquetFile(path) as parquet:
        rows = parquet.metadata.num_rows
    return {"rows": rows, "bytes": path.stat().st_size, "sha256": sha256}


def _write(path: Path, document: Any) -> None:
    aside = path.with_suffix(".tmp")
    with aside.open("w") as file:
        json.dump(document, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
