"""One alternative in its own process: wall time, peak memory of the whole process tree, and what it printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

ALTERNATIVES = Path(__file__).parent / "alternatives"
EVERY = 0.05
"""Seconds between two looks at the memory."""
REPEATS = 3
ENOUGH = 60.0
"""Seconds after which an alternative is not repeated."""


@dataclass(frozen=True)
class Measured:
    """What one alternative did."""

    name: str
    status: str
    """``ok``, ``not installed``, ``failed`` or ``stopped`` at its time limit."""
    rows: int = 0
    seconds: float = 0.0
    """Median over the repeats of the work itself, without imports and without starting a cluster."""
    wall: float = 0.0
    """Median of the whole process."""
    peak: int = 0
    """Largest sum of resident bytes over the process tree, in any repeat; shared pages count once a process."""
    repeats: int = 0
    document: dict | None = None
    """What the alternative printed in its last repeat."""
    error: str = ""

    @property
    def rate(self):
        return self.rows / self.seconds if self.seconds else 0.0


def measure(name, data, *, workers, limit, needs=""):
    """Run an alternative up to three times.

    Parameters
    ----------
    name : str
        File in ``alternatives/`` without its ending.
    data : Path
        Directory of Parquet files.
    workers : int
        Processes or threads that it may use.
    limit : float
        Seconds that one run may take.
    needs : str
        Package without which it is not tried.
    """
    python = _interpreter(ALTERNATIVES / f"{name}.py")
    if python is None or (needs and not _installed(needs)):
        return Measured(name, "not installed")
    documents, walls, peak = [], [], 0
    while len(documents) < REPEATS and sum(walls) < ENOUGH:
        once = _run([python, str(ALTERNATIVES / f"{name}.py"), str(data), "--workers", str(workers)], limit)
        if isinstance(once, Measured):
            return Measured(name, once.status, wall=once.wall, peak=once.peak, error=once.error)
        document, wall, high = once
        documents.append(document)
        walls.append(wall)
        peak = max(peak, high)
    return Measured(
        name,
        "ok",
        documents[-1]["rows"],
        median(document["seconds"] for document in documents),
        median(walls),
        peak,
        len(documents),
        documents[-1],
    )


def _interpreter(script):
    """Return the Python that runs an alternative; None when its own environment cannot be made.

    One that cannot share the packages of headrace names its own in a ``# /// script`` header (PEP 723), of which uv
    makes an environment that is kept.
    """
    if not script.read_text().startswith("# /// script"):
        return sys.executable
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        return None
    made = subprocess.run([uv, "sync", "--quiet", "--script", script], capture_output=True, check=False)
    if made.returncode:
        return None
    find = [uv, "python", "find", "--script", script]
    return subprocess.run(find, capture_output=True, text=True, check=True).stdout.strip()


def _installed(package):
    return (
        subprocess.run(
            [sys.executable, "-c", f"import {package}"], capture_output=True, check=False
        ).returncode
        == 0
    )


def _run(command, limit):
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONDONTWRITEBYTECODE": "",  # libraries are compiled once, as where they are used every day
    }
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = psutil.Popen(command, stdout=out, stderr=err, env=environment)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process))
            if time.perf_counter() - started > limit:
                _end(process)
                return Measured("", "stopped", wall=limit, peak=peak, error=f"not done after {limit:.0f} s")
            time.sleep(EVERY)
        wall = time.perf_counter() - started
        out.seek(0)
        err.seek(0)
        lines = out.read().strip().splitlines()
        if process.returncode or not lines:
            told = [line for line in err.read().strip().splitlines() if line.strip()]
            return Measured("", "failed", wall=wall, peak=peak, error=told[-1][:300] if told else "no output")
    return json.loads(lines[-1]), wall, peak


def _resident(process):
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _end(process):
    family = [*process.children(recursive=True), process]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)
