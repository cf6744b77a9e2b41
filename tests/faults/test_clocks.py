"""Clocks that are an hour off: who is alive is not followed, who is dead does not hold a run, certificates hold."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.cluster.test_address import flags
from tests.faults.conftest import SECONDS, complaint, end, require_same, until
from tests.faults.test_lost_workers import PROGRAM

from headrace.cli import run as headrace
from headrace.cluster import jobs
from headrace.cluster.certificates import temporary_security, texts_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.conftest import Site

# they wait for other processes, on a machine that may be busy
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

# Every way by which a program asks for the time of day: Python, Arrow and OpenSSL then have one clock.
LIBRARY = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *now)
{
    int failed = syscall(SYS_clock_gettime, id, now);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += atol(getenv("CLOCK_AHEAD"));
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *to)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (to)
        *to = exact.tv_sec;
    return exact.tv_sec;
}
"""
HOUR = 3600
ELSEWHERE = f"import socket\nsocket.gethostname = lambda: 'elsewhere'\n{PROGRAM}"
"""A coordinator that takes itself to be on another machine, whose processes nobody here can look at."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What shifts the clock of a program that loads it first."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler: apt-get install gcc")
    place = tmp_path_factory.mktemp("clock")
    (place / "clock.c").write_text(LIBRARY)
    built = place / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(built), str(place / "clock.c")], check=True)
    return built


def ahead(seconds: int, library: Path) -> dict[str, str]:
    """Environment of a program whose clock is ahead, or late by a number below zero."""
    return {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(seconds)}


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_run_is_held_by_who_beats_and_by_nobody_who_is_dead(
    seconds: int, site: Site, library: Path, whole: dict[str, Any]
) -> None:
    (site.place / "cluster.yaml").write_text("workers: 1\nmemory: 512MiB\nprocesses: false\n")
    words = ("-c", ELSEWHERE, "run", "w.yaml", "--run", "run", "--cluster", "cluster.yaml")
    far = site.start(*words, environment=ahead(seconds, library))
    site.hold_after(2, far)
    said = complaint(site.lead("--resume", "run"), 2)
    assert f"process {far.pid} on elsewhere is working on this run" in said
    assert far.poll() is None
    end(far)
    site.pace(0)
    assert require_same(site.lead("--resume", "run"), whole)["resumed"] == 1


def test_a_run_over_clocks_that_differ_by_hours_ends_with_the_same_model(
    site: Site, library: Path, whole: dict[str, Any]
) -> None:
    directory = site.place / "certs"
    directory.mkdir()
    for file, text in texts_of(temporary_security()).items():
        (directory / file).write_text(text)
    site.scheduler(*flags(directory), scheme="tls")
    for name, seconds in (("late", -HOUR), ("early", HOUR)):
        site.worker(name, *flags(directory), scheme="tls", environment=ahead(seconds, library))
    site.cluster_file(scheme="tls", workers=2, tls={"directory": "certs"})
    require_same(site.lead(environment=ahead(HOUR, library)), whole)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_job_is_running_while_it_beats_and_lost_when_it_does_not(
    seconds: int,
    site: Site,
    library: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (site.place / "cluster.yaml").write_text("workers: 1\nmemory: 512MiB\nprocesses: false\n")
    site.pace(SECONDS)
    with monkeypatch.context() as patch:
        for name, value in ahead(seconds, library).items():
            patch.setenv(name, value)
        assert headrace(["submit", "w.yaml", "--cluster", "cluster.yaml", "--run", "runs/toy"]) == 0
    job = jobs.read_job(str(site.place / "runs" / "toy"))
    pid = int(job.place["process"]["pid"])
    site.stack.callback(_end, pid)
    jobs.locate(job, {"what": "elsewhere"})  # nobody here can look at its process
    until(lambda: (beat := jobs.read_heartbeat(job.url)) is not None and bool(beat.stage))
    assert headrace(["jobs", "list"]) == 0
    assert f"{job.id} running" in " ".join(capsys.readouterr().out.split())
    _end(pid)
    assert headrace(["jobs", "list"]) == 0
    assert f"{job.id} lost" in " ".join(capsys.readouterr().out.split())
    site.pace(0)
    assert headrace(["jobs", "resume", "runs/toy"]) == 0
    assert headrace(["jobs", "wait", "runs/toy"]) == 0


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
