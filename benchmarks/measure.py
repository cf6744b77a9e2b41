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
EVERY = 0.5
"""Seconds between two looks at the memory: each takes 2 ms of a core that the program may need."""
REPEATS = 3
ENOUGH = 100.0
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
    """Largest sum of resident bytes over the process tree, or of one of its processes at its highest, in any repeat; shared
    pages count once a process."""
    each: tuple[float, ...] = ()
    """Seconds of each repeat."""
    document: dict | None = None
    """What the alternative printed in its last repeat."""
    error: str = ""

    @property
    def rate(self):
        return self.rows / self.seconds if self.seconds else 0.0


class Trials:
    """The repeats of one alternative.

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

    def __init__(self, name, data, *, workers, limit, needs=""):
        self.name, self.data, self.workers, self.limit = name, data, workers, limit
        self._python = _interpreter(ALTERNATIVES / f"{name}.py")
        missing = self._python is None or (needs and not _installed(needs))
        self._failed = Measured(name, "not installed") if missing else None
        self._documents, self._walls, self._peak = [], [], 0

    @property
    def wanted(self):
        """Whether it is to be run again."""
        return self._failed is None and len(self._walls) < REPEATS and sum(self._walls) < ENOUGH

    def again(self):
        """Run it once more."""
        script = str(ALTERNATIVES / f"{self.name}.py")
        once = _run([self._python, script, str(self.data), "--workers", str(self.workers)], self.limit)
        if isinstance(once, Measured):
            self._failed = Measured(self.name, once.status, wall=once.wall, peak=once.peak, error=once.error)
            return
        document, wall, high = once
        self._documents.append(document)
        self._walls.append(wall)
        self._peak = max(self._peak, high)

    @property
    def measured(self):
        """What is known so far."""
        if self._failed is not None:
            return self._failed
        seconds = [document["seconds"] for document in self._documents]
        return Measured(
            self.name,
            "ok",
            self._documents[-1]["rows"],
            median(seconds),
            median(self._walls),
            self._peak,
            tuple(seconds),
            self._documents[-1],
        )


def measure(name, data, *, workers, limit, needs=""):
    """Run an alternative up to three times; as `Trials`."""
    trials = Trials(name, data, workers=workers, limit=limit, needs=needs)
    while trials.wanted:
        trials.again()
    return trials.measured


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
        peak, looked = 0, started
        while process.poll() is None:
            if time.perf_counter() - looked > EVERY:
                peak, looked = max(peak, _resident(process)), time.perf_counter()
            if time.perf_counter() - started > limit:
                _end(process)
                return Measured("", "stopped", wall=limit, peak=peak, error=f"not done after {limit:.0f} s")
            time.sleep(0.05)
        wall = time.perf_counter() - started
        out.seek(0)
        err.seek(0)
        lines = out.read().strip().splitlines()
        if process.returncode or not lines:
            told = [line for line in err.read().strip().splitlines() if line.strip()]
            return Measured("", "failed", wall=wall, peak=peak, error=told[-1][:300] if told else "no output")
    return json.loads(lines[-1]), wall, peak


def _resident(process):
    """Resident bytes of a process tree; of one process alone the most that it ever had, where the system tells."""
    total = most = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
            most = max(most, _highest(member.pid))
        except psutil.NoSuchProcess:
            continue
    return max(total, most)


def _highest(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), 0)


def _end(process):
    family = [*process.children(recursive=True), process]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)
