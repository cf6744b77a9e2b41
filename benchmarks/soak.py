"""A soak: small runs, one after the other, under faults drawn at random; each has to end with the model of an undisturbed run.

    make soak MINUTES=60

Scheduler, two workers and coordinator are processes of their own. What befalls a run follows from the seed and its number; when,
in seconds, does too, but how far the run is by then depends on the machine. A run whose coordinator has ended is resumed until
it is through; one that takes longer than the limit counts as stuck. Every process is ended by its own number.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import fsspec
import psutil
import pytest
import yaml
from tests.faults.test_lost_workers import FILES, GROUP_ROWS, GROUPS, PROGRAM, make
from tests.faulty import Faults, before
from tests.servers import free_port, s3_running

from headrace.cluster.coordinator import begun
from headrace.data.storage import join
from run import ROOT, machine

WORKERS = 2
SECONDS_WITHOUT_BEAT = 20
"""After so long the scheduler counts a worker as lost; one that was stopped for longer comes back as a zombie."""
LONGEST_STOP = 45.0
WRITTEN = (200, 20_000)
"""Bytes of a file beyond which the disk refuses to write, least and most."""
UNRELIABLE = Faults(busy=0.05, throttled=0.01, reset=0.02, lost=0.02, stalled=0.01, truncated=0.02, stall=3.0)
MOMENTARY = ("coordinator killed", "worker killed", "scheduler killed", "worker stopped", "writes refused")


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    number: int
    store: str
    faults: tuple[str, ...]
    seconds: float
    resumes: int
    status: str
    """``same``, ``wrong`` or ``stuck``."""
    tracebacks: tuple[str, ...]
    """Last lines of coordinators that did not end in one line."""
    model_sha256: str = ""


class Cluster:
    """A scheduler and workers of Dask's own command line; what has died is started again, as a platform would."""

    def __init__(self, folder, environment):
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.leading = None
        self.scheduler = None
        self.workers = []
        self._stopped = {}
        self._folder = folder
        self._environment = environment | {
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": f"{SECONDS_WITHOUT_BEAT}s",
            # As in clusters of our own: a worker that is paused for its memory gets no task that would free any.
            "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
        }

    def heal(self):
        """Let workers go on whose time is over, and replace what has died."""
        for worker, end in [*self._stopped.items()]:
            if time.monotonic() >= end:
                worker.send_signal(signal.SIGCONT)
                del self._stopped[worker]
        if self.scheduler is None or self.scheduler.poll() is not None:
            port = self.address.rpartition(":")[2]
            self.scheduler = self._start("dask_scheduler", "--host", self.address, "--port", port)
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < WORKERS:
            words = ("--nthreads", "1", "--no-nanny", "--memory-limit", "512MiB")
            self.workers.append(self._start("dask_worker", self.address, *words))

    def stop(self, worker, seconds):
        worker.send_signal(signal.SIGSTOP)
        self._stopped[worker] = time.monotonic() + seconds

    def end(self):
        for process in filter(None, (self.leading, *self.workers, self.scheduler)):
            process.kill()
            process.wait()

    def _start(self, module, *words):
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{module}", *words, "--no-dashboard"],
            cwd=self._folder,
            env=os.environ | self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@dataclass(frozen=True)
class Site:
    """What all runs share."""

    folder: Path
    cluster: Cluster
    environment: dict[str, str]
    url: str
    """Of a folder on S3; empty where there is none."""
    limit: float


def soak(site, proxy, *, seed, seconds):
    """Run until the time is over; yields each outcome."""
    stores = ["disk", "s3"] if site.url else ["disk"]
    undisturbed = {}
    for store in stores:
        undisturbed[store] = run(site, 0, store, [], random.Random(0))
        yield undisturbed[store]
        if undisturbed[store].status != "same":
            return
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        number += 1
        draw = random.Random(f"{seed} {number}")
        store = draw.choice(stores)
        faults = [draw.choice(MOMENTARY) for _ in range(draw.randint(1, 3))]
        if draw.random() < 1 / 4:
            faults.append("no local directory")
        if proxy is not None and store == "s3" and draw.random() < 3 / 4:
            faults.append("store unreliable")
        if proxy is not None:
            proxy.faults = UNRELIABLE if "store unreliable" in faults else Faults()
        yield run(site, number, store, faults, draw, undisturbed[store])


def run(site, number, store, faults, draw, whole=None):
    """Lead one run to its end."""
    folder = site.folder / f"{store}-{number}"
    folder.mkdir()
    url = str(folder) if store == "disk" else join(site.url, folder.name)
    directory = join(url, "run")
    document = yaml.safe_load((site.folder / "w.yaml").read_text())
    document["data"]["url"] = str(site.folder / "data") if store == "disk" else join(site.url, "data")
    document["publish"] = {"registry": join(url, "registry")}
    (folder / "w.yaml").write_text(yaml.safe_dump(document))
    # a directory below a file can be made by nobody
    local = site.folder / "w.yaml" if "no local directory" in faults else folder
    place = {
        "kind": "address",
        "address": site.cluster.address,
        "memory": "512MiB",
        "local_directory": str(local),
    }
    (folder / "cluster.yaml").write_text(yaml.safe_dump(place))
    moments = [(kind, draw.uniform(0, whole.seconds)) for kind in faults if kind in MOMENTARY]
    befallen = [kind for kind in faults if kind not in MOMENTARY]
    began, resumes, tracebacks = time.monotonic(), -1, []
    while True:
        resumes += 1
        process = lead(site, folder, directory)
        site.cluster.leading = process
        killed = False
        while moments and not killed and follow(site, process, time.monotonic() + moments[0][1], began):
            kind, _ = moments.pop(0)
            befallen.append(kind)
            killed = inflict(kind, process, site.cluster, draw)
        if follow(site, process, began + site.limit, began):
            process.kill()
            process.wait()
            return told(number, store, befallen, began, resumes, "stuck", tracebacks)
        text = (folder / "err").read_text()
        if "Traceback" in text:
            tracebacks.append(text.strip().splitlines()[-1])
        if process.returncode == 0:
            break
        time.sleep(0.2)
    record = json.loads((folder / "out").read_text())
    rows = [FILES * GROUPS * GROUP_ROWS] * record["data_passes"]["planned"]
    right = [each["rows"] for each in record["passes"]] == rows and record["model"] == "toy@1"
    if whole is not None:
        right = right and record["model_sha256"] == whole.model_sha256
    status = "same" if right else "wrong"
    return told(number, store, befallen, began, resumes, status, tracebacks, record["model_sha256"])


def told(number, store, befallen, began, resumes, status, tracebacks, model=""):
    seconds = round(time.monotonic() - began, 2)
    return Outcome(number, store, tuple(befallen), seconds, resumes, status, tuple(tracebacks), model)


def lead(site, folder, directory):
    """Start a coordinator, which begins the run or goes on with it."""
    words = ["--resume", directory] if begun(directory) else ["w.yaml", "--run", directory]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "run", *words, "--cluster", "cluster.yaml", "--json"],
            cwd=folder,
            env=os.environ | site.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )


def follow(site, process, until, began):
    """Wait for a moment, or the end of the process before it; tells whether the process runs on."""
    until = min(until, began + site.limit)
    while process.poll() is None and time.monotonic() < until:
        site.cluster.heal()
        time.sleep(0.05)
    return process.poll() is None


def inflict(kind, process, cluster, draw):
    """Let a fault happen; tells whether the coordinator is dead of it."""
    if kind == "coordinator killed":
        process.kill()
        process.wait()
        return True
    if kind == "worker killed":
        draw.choice(cluster.workers).kill()
    elif kind == "scheduler killed":
        cluster.scheduler.kill()
    elif kind == "worker stopped":
        cluster.stop(draw.choice(cluster.workers), draw.uniform(1, LONGEST_STOP))
    else:
        most = draw.randint(*WRITTEN)
        with suppress(psutil.NoSuchProcess):  # it may just have ended
            limited = psutil.Process(process.pid)
            _, hard = limited.rlimit(
                psutil.RLIMIT_FSIZE
            )  # cannot be raised again, as the next such fault may ask
            limited.rlimit(psutil.RLIMIT_FSIZE, (most, hard))
    return False


def summary(outcomes, given):
    """Return the figures of a soak."""
    disturbed = [each for each in outcomes if each.number]
    seconds = [each.seconds for each in disturbed]
    return {
        "minutes": given.minutes,
        "seed": given.seed,
        "limit_seconds": given.limit,
        "machine": machine(),
        "runs": len(disturbed),
        "runs_by_store": dict(sorted(Counter(each.store for each in disturbed).items())),
        "faults": dict(sorted(Counter(kind for each in disturbed for kind in each.faults).items())),
        "resumes": sum(each.resumes for each in disturbed),
        "wrong": sum(each.status == "wrong" for each in disturbed),
        "stuck": sum(each.status == "stuck" for each in disturbed),
        "tracebacks": [line for each in disturbed for line in each.tracebacks],
        "seconds": {
            "undisturbed": {each.store: each.seconds for each in outcomes if not each.number},
            "median": statistics.median(seconds) if seconds else None,
            "longest": max(seconds, default=None),
        },
        "not_the_same": [asdict(each) for each in disturbed if each.status != "same"],
    }


def stop(_number, _frame):
    """End by way of the contexts, which end all processes, also when a platform asks for it."""
    raise SystemExit(143)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a run counts as stuck")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "soak.json")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    outcomes = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make(folder)
        document = yaml.safe_load((folder / "w.yaml").read_text())
        document["train"] = {"epochs": 3, "patience": 3}
        (folder / "w.yaml").write_text(yaml.safe_dump(document))
        environment, url, proxy = {"OPENBLAS_NUM_THREADS": "1"}, "", None
        (folder / "s3").mkdir()
        try:
            store = stack.enter_context(s3_running(folder / "s3"))
        except pytest.skip.Exception as reason:
            print(f"without S3: {reason}", file=sys.stderr)
        else:
            os.environ.update(store.environment)
            url = join(store.url, "soak")
            fsspec.filesystem("s3").put(str(folder / "data"), join(url, "data"), recursive=True)
            server = int(store.environment["AWS_ENDPOINT_URL"].rpartition(":")[2])
            proxy = stack.enter_context(before(server, Faults(), seed=given.seed))
            environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
        cluster = Cluster(folder, environment)
        stack.callback(cluster.end)
        cluster.heal()
        site = Site(folder, cluster, environment, url, given.limit)
        for each in soak(site, proxy, seed=given.seed, seconds=60 * given.minutes):
            outcomes.append(each)
            what = ", ".join(each.faults) or "none"
            print(
                f"{each.number:>4}  {each.store:<5} {each.status:<6} {each.seconds:>6.1f} s  {each.resumes} resumed  {what}",
                flush=True,
            )
            figures = summary(outcomes, given)
            given.out.write_text(json.dumps(figures, indent=1) + "\n")
    if any(each.status != "same" for each in outcomes if not each.number):
        raise SystemExit("a run without faults did not end well: nothing can be compared with it")
    shown = ("runs", "resumes", "wrong", "stuck")
    print("\n".join(f"{name:<20} {figures[name]:>5}" for name in shown))
    print("\n".join(f"{name:<20} {count:>5}" for name, count in figures["faults"].items()))
    if figures["wrong"] or figures["stuck"] or figures["tracebacks"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
