"""One process a run: refused while its holder lives, here or elsewhere; followed when it is dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from headrace.data.storage import write_bytes
from headrace.engine import lease
from headrace.engine.lease import Holder, Lease, newest
from headrace.errors import InputError, RunError

BEAT = 0.05
HOLD = """
import sys, time
from headrace.engine.lease import Lease
lease = Lease(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def held_by(place: Path, holder: Holder, number: int = 1) -> None:
    (place / "lease").mkdir(exist_ok=True)
    (place / "lease" / f"{number:08d}.json").write_text(json.dumps(asdict(holder)))


def test_a_second_one_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    with Lease(str(tmp_path), beat_seconds=BEAT) as held:
        with pytest.raises(InputError, match=f"process {os.getpid()} on .* is working on this run"):
            Lease(str(tmp_path), beat_seconds=BEAT)
        held.check()
    number, holder = newest(str(tmp_path))
    assert number == 1
    assert holder is not None
    assert holder.released
    Lease(str(tmp_path), beat_seconds=BEAT).close()
    assert not [thread for thread in threading.enumerate() if thread.name == "headrace-lease"]


def test_it_beats(tmp_path: Path) -> None:
    with Lease(str(tmp_path), beat_seconds=BEAT):
        time.sleep(10 * BEAT)
        _, holder = newest(str(tmp_path))
        assert holder is not None
        assert holder.beat >= 2


def test_a_killed_process_is_followed_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=f"process {process.pid} "):
        Lease(str(tmp_path))
    process.kill()
    # Not waited for: a zombie is dead.
    time.sleep(0.3)
    Lease(str(tmp_path)).close()
    process.communicate()


def test_a_number_that_was_given_to_another_process_is_no_holder(tmp_path: Path) -> None:
    held_by(tmp_path, replace(Holder.this_process(), owner="old", started=1.0))
    Lease(str(tmp_path), beat_seconds=BEAT).close()


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere a process knows its start by the clock of then")
def test_a_clock_that_is_set_meanwhile_does_not_make_a_holder_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Holder.this_process()
    # where the machine's start stands by a clock that is an hour later now
    told = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    later = [["btime", str(int(words[1]) + 3600)] if words[0] == "btime" else words for words in told]
    (tmp_path / "stat").write_text("".join(f"{' '.join(words)}\n" for words in later))
    for number in (held.pid, "self"):
        (tmp_path / str(number)).symlink_to(f"/proc/{held.pid}")
    before = psutil.Process().create_time()
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert psutil.Process().create_time() == pytest.approx(before + 3600)
    assert held.lives_here()
    assert not replace(held, started=held.started - 1).lives_here()


def test_a_holder_elsewhere_lives_while_its_beat_changes(tmp_path: Path) -> None:
    far = replace(Holder.this_process(), owner="far", host="elsewhere/boot", pid=1)
    stop = threading.Event()

    def beat() -> None:
        number = 0
        while not stop.wait(BEAT):
            number += 1
            aside = tmp_path / "aside"
            aside.write_text(json.dumps(asdict(replace(far, beat=number))))
            aside.replace(tmp_path / "lease" / "00000001.json")

    held_by(tmp_path, far)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(InputError, match="on elsewhere is working"):
            Lease(str(tmp_path), beat_seconds=0.2)
    finally:
        stop.set()
        thread.join()
    Lease(str(tmp_path), beat_seconds=BEAT).close()


def test_who_was_taken_over_says_so_and_leaves_the_lease_alone(tmp_path: Path) -> None:
    held = Lease(str(tmp_path), beat_seconds=60.0)
    other = replace(Holder.this_process(), owner="other")
    held_by(tmp_path, other, 2)
    with pytest.raises(RunError, match="has taken this run over"):
        held.check()
    held.close()
    assert newest(str(tmp_path)) == (2, other)


def test_a_lease_that_cannot_be_read_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "lease").mkdir()
    (tmp_path / "lease" / "00000007.json").write_text("{")
    Lease(str(tmp_path), beat_seconds=BEAT).close()
    assert newest(str(tmp_path))[0] == 8


def test_of_many_who_follow_a_dead_holder_one_does(tmp_path: Path) -> None:
    held_by(tmp_path, replace(Holder.this_process(), owner="dead", started=1.0))
    assert race(str(tmp_path)) == 1


@pytest.mark.parametrize("store", ["s3", "gcs", "azure"])
def test_of_many_who_follow_a_dead_holder_one_does_on_a_store(
    store: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(store)
    assert race(url) == 1
    Lease(url, beat_seconds=BEAT).close()
    assert newest(url)[0] == 2


def test_a_store_that_cannot_create_once_gives_it_to_the_later_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_over(url: str, data: bytes) -> bool:
        write_bytes(url, data)
        return True

    monkeypatch.setattr(lease, "creates_once", lambda _: False)
    monkeypatch.setattr(lease, "create", write_over)
    assert race(str(tmp_path)) <= 1


def race(url: str) -> int:
    """How many of some processes that start at once hold the lease."""
    start, held = threading.Barrier(4), []

    def take(_: int) -> bool:
        start.wait()
        try:
            held.append(Lease(url, beat_seconds=0.5))
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = sum(pool.map(take, range(4)))
    for one in held:
        one.close()
    return won
