"""Jobs on real clusters: coordinators are processes of their own, and all is read from run directories."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml
from tests.cluster.conftest import free_port, write_workflow

from headrace.cli import run as headrace
from headrace.cluster import jobs, joining
from headrace.cluster.coordinator import AGAIN, INTERRUPTED, lead
from headrace.cluster.jobs import Heartbeat, Job, Log, read_heartbeat, read_job, read_log, status
from headrace.data.storage import read_json
from headrace.engine.events import ChunkDone, PassStarted, StageStarted
from headrace.errors import InputError, RunError, UnansweredError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.engine.events import Subscriber

SECONDS = 90.0


@pytest.fixture
def place(in_tmp: Path) -> Iterator[Path]:
    write_workflow()
    Path("cluster.yaml").write_text("kind: laptop\nworkers: 1\nmemory: 512MiB\nprocesses: false\n")
    yield in_tmp
    for job in jobs.list_jobs("runs"):
        kill(job)


def kill(job: Job) -> None:
    beat = read_heartbeat(job.url)
    told = None if beat is None else beat.pid  # all that is known of one that was started over SSH
    pid = job.place.get("process", {}).get("pid", told)
    if pid is not None:
        with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            process = psutil.Process(pid)
            if "lead" in process.cmdline():
                process.kill()
                process.wait(20)


def submit(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    assert headrace(["submit", "workflow.yaml", "--cluster", "cluster.yaml", *words]) == 0
    told = capsys.readouterr()
    return told.out.strip(), told.err


def until(job: Job, *states: str) -> Heartbeat | None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        state, heartbeat = status(job)
        if state in states:
            return heartbeat
        if state in jobs.ENDED:
            break
        time.sleep(0.2)
    raise AssertionError((state, heartbeat, "".join(text for text, _ in read_log(job.url))[-500:]))


def test_a_job_runs_by_itself_from_submit_to_report(place: Path, capsys: pytest.CaptureFixture[str]):
    name, told = submit(capsys)
    assert name.startswith("toy-")
    assert f"headrace jobs logs -f {name}" in told
    again, told = submit(capsys)
    assert again == name
    assert "submitted before" in told
    assert headrace(["jobs", "wait", name, "--timeout", str(SECONDS)]) == 0
    assert capsys.readouterr().out == f"{name} passed\n"
    run = read_json(f"runs/{name}/run.json")
    assert run["status"] == "passed"
    assert Path("runs", name, "report.html").exists()
    assert headrace(["jobs", "logs", "-f", name]) == 0
    log = capsys.readouterr().out
    assert "coordinator" in log
    assert log.endswith("Z passed\n")
    assert headrace(["jobs", "status", name, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["state"], document["kind"]) == ("passed", "laptop")
    assert document["heartbeat"]["memory"]
    assert headrace(["jobs", "list"]) == 0
    assert capsys.readouterr().out.split()[:2] == [name, "passed"]
    other, _ = submit(capsys, "--again")
    assert other == f"{name}-2"


@pytest.mark.slow
def test_a_job_that_is_cancelled_ends_cleanly_and_goes_on_when_resumed(
    place: Path, capsys: pytest.CaptureFixture[str]
):
    write_workflow(epochs=400)
    name, _ = submit(capsys)
    job = jobs.find_jobs(name, "runs")[0]
    while (beat := until(job, "running", "waiting")) is None or beat.stage != "train":
        time.sleep(0.2)
    assert headrace(["jobs", "cancel", name]) == 0
    until(job, "cancelled")
    assert headrace(["jobs", "wait", name]) == 1
    assert f"{name} cancelled" in capsys.readouterr().out
    assert read_json(f"runs/{name}/run.json")["status"] == "running"
    assert headrace(["jobs", "resume", name]) == 0
    while (beat := until(job, "running", "waiting")) is None or not beat.stage:
        time.sleep(0.2)
    # killed now, it is lost, and nothing but its coordinator is
    kill(read_job(job.url))
    assert headrace(["jobs", "wait", name]) == 1
    assert f"headrace jobs resume {name}" in capsys.readouterr().out
    assert headrace(["jobs", "resume", name]) == 0
    assert headrace(["jobs", "cancel", name]) == 0


def test_a_scheduler_that_is_unreachable_leaves_no_job(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(joining, "CONNECT_SECONDS", 0.5)
    Path("cluster.yaml").write_text(
        f"kind: address\naddress: tcp://127.0.0.1:{free_port()}\nmemory: 512MiB\n"
    )
    assert headrace(["submit", "workflow.yaml", "--cluster", "cluster.yaml"]) == 1
    told = capsys.readouterr()
    assert "the scheduler cannot be reached" in told.err
    assert told.err.count("\n") == 1
    assert jobs.list_jobs("runs") == []


@pytest.mark.slow
def test_a_job_over_ssh_is_led_there(
    place: Path, capsys: pytest.CaptureFixture[str], ssh_server: dict[str, Any]
):
    Path("cluster.yaml").write_text(yaml.safe_dump(ssh_server))
    name, told = submit(capsys)
    assert "of 127.0.0.1" in told
    assert headrace(["jobs", "wait", name, "--timeout", str(SECONDS)]) == 0, list(read_log(f"runs/{name}"))


def test_variables_are_kept_by_name(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HEADRACE_WORKERS", "1")
    Path("cluster.yaml").write_text("workers: ${HEADRACE_WORKERS}\nmemory: 512MiB\nprocesses: false\n")
    name, _ = submit(capsys)
    assert "${HEADRACE_WORKERS}" in Path("runs", name, "job", "cluster.yaml").read_text()


def job_in(directory: Path) -> Job:
    job = Job("toy-1", str(directory / "run"), "d", "laptop", "2026-01-01T00:00:00+00:00")
    assert jobs.record(job, "workflow", "cluster")
    return job


def work_of(events: list[Any]) -> Any:
    def work(subscribers: Sequence[Subscriber]) -> bool:
        for event in events:
            if isinstance(event, BaseException):
                raise event
            for subscriber in subscribers:
                subscriber(event)
        return True

    return work


def lines(write: Any) -> Any:
    return lambda event: write(type(event).__name__)


def test_a_directory_holds_one_job(tmp_path: Path):
    job = job_in(tmp_path)
    assert not jobs.record(job, "workflow", "cluster")
    with pytest.raises(InputError, match="holds another job, toy-1"):
        jobs.record(replace(job, digest="e"), "workflow", "cluster")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "run.json").write_text("{}")
    with pytest.raises(InputError, match="already holds files"):
        jobs.record(replace(job, url=str(tmp_path / "full")), "workflow", "cluster")
    with pytest.raises(InputError, match="there is no job"):
        jobs.find_jobs("toy-2", str(tmp_path))


def test_a_job_is_found_by_its_id_or_else_by_its_directory(in_tmp: Path):
    by_id, by_directory = job_in(Path("runs")), job_in(Path())
    assert jobs.find_jobs("run", "runs") == [by_id]
    assert jobs.find_jobs("./run", "runs") == [replace(by_directory, url="./run")]
    shutil.rmtree("runs")
    assert jobs.find_jobs("run", "runs") == [by_directory]


def test_the_heartbeat_says_what_the_events_say(tmp_path: Path):
    job = job_in(tmp_path)
    assert status(job) == ("waiting", None)
    events = [
        StageStarted("train"),
        PassStarted("epoch 1", 2, 100, 2_000),
        ChunkDone("epoch 1", 50, 1_000, "tcp://a", 7),
        ChunkDone("epoch 1", 50, 1_000, "tcp://a", 5),
    ]
    assert lead(job, work_of(events), lines) == 0
    state, beat = status(job)
    assert beat is not None
    assert (state, beat.stage, beat.rows, beat.rows_planned, beat.memory) == (
        "passed", "train", 100, 100, {"tcp://a": 7},
    )  # fmt: skip
    text = "".join(text for text, _ in read_log(job.url))
    assert [line.split()[1] for line in text.splitlines()][1:] == [
        "StageStarted", "PassStarted", "ChunkDone", "ChunkDone", "passed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "state", "code", "told"),
    [
        (RunError("no rows", where="data"), "failed", 1, "data: no rows"),
        (InputError("no column", where="data"), "failed", 2, "data: no column"),
        (ZeroDivisionError("by zero"), "failed", 1, "ZeroDivisionError: by zero"),
        (UnansweredError("no answer", where="s3://b"), "stopped", AGAIN, "s3://b: no answer"),
        (KeyboardInterrupt(), "stopped", AGAIN, ""),
    ],
)
def test_how_a_job_ends_is_told(tmp_path: Path, error: BaseException, state: str, code: int, told: str):
    job = job_in(tmp_path)
    assert lead(job, work_of([error]), lines) == code
    found, beat = status(job)
    assert beat is not None
    assert (found, beat.error) == (state, told)


def test_a_platform_sees_by_the_exit_code_how_a_run_ended(place: Path, capsys: pytest.CaptureFixture[str]):
    job = Job("toy-1", "runs/toy-1", "d", "laptop", "2026-01-01T00:00:00+00:00")
    text = Path("workflow.yaml").read_text()
    assert jobs.record(job, text, Path("cluster.yaml").read_text())
    Path("data").rename("away")
    assert headrace(["jobs", "lead", job.url]) == 2
    assert status(job)[0] == "failed"
    Path("away").rename("data")
    assert headrace(["jobs", "lead", job.url]) == 0
    assert status(job)[0] == "passed"
    # one that never began is not given up, and the next job of its array is not begun
    assert headrace(["jobs", "lead", "runs/toy-2", job.url]) == AGAIN
    assert "runs/toy-2: there is no job" in capsys.readouterr().err


def test_a_signal_of_the_platform_stops_the_job_for_a_resume(tmp_path: Path):
    job = job_in(tmp_path)

    def work(_subscribers: Any) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        return True

    assert lead(job, work, lines) == AGAIN
    assert status(job)[0] == "stopped"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("number", "state", "code"),
    [(signal.SIGINT, "cancelled", INTERRUPTED), (signal.SIGTERM, "stopped", AGAIN)],
)
def test_a_signal_that_is_swallowed_ends_the_job_at_the_next_event(
    number: int, state: str, code: int, tmp_path: Path
):
    job = job_in(tmp_path)

    def work(subscribers: Sequence[Subscriber]) -> bool:
        if state == "cancelled":
            jobs.request_cancel(job)
        with suppress(BaseException):
            os.kill(os.getpid(), number)
            time.sleep(5)
        for tell in subscribers:
            tell(StageStarted("train"))
        return True

    assert lead(job, work, lines) == code
    assert status(job)[0] == state


def test_a_job_cancelled_before_it_began_never_does(tmp_path: Path):
    job = job_in(tmp_path)
    jobs.request_cancel(job)
    assert status(job)[0] == "cancelling"
    assert lead(job, work_of([AssertionError()]), lines) == INTERRUPTED
    assert status(job)[0] == "cancelled"


def test_silence_is_watched_for_and_clocks_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(jobs, "SILENT_SECONDS", 0.4)
    job = job_in(tmp_path)
    beat = Heartbeat("a", "elsewhere", 1, 1, time.time() - 3600)
    jobs.write_heartbeat(job.url, beat)
    assert status(job)[0] == "lost"
    # an hour behind, and beating all the same
    real = jobs.read_heartbeat

    def beating(url: str) -> Heartbeat | None:
        found = real(url)
        assert found is not None
        jobs.write_heartbeat(url, replace(found, beat=found.beat + 1))
        return found

    monkeypatch.setattr(jobs, "read_heartbeat", beating)
    assert status(job)[0] == "running"


def test_two_coordinators_do_not_lead_one_job(tmp_path: Path):
    job = job_in(tmp_path)

    def work(_subscribers: Any) -> bool:
        with pytest.raises(InputError, match="another coordinator is at work"):
            lead(job, work_of([]), lines)
        return True

    assert lead(job, work, lines) == 0
    beat = read_heartbeat(job.url)
    assert beat is not None
    assert beat.state == "passed"


def test_a_log_is_read_on_from_where_one_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Log, "PART", 100)
    url = str(tmp_path)
    log = Log(url)
    seen, place = "", (0, 0)
    for number in range(10):
        log.write(f"line {number} é")
        log.flush()
        log.flush()
        for text, after in read_log(url, place):
            seen, place = seen + text, after
    Log(url).write("never written")
    log = Log(url)  # of the next coordinator
    log.write("line 10 é")
    log.flush()
    seen += "".join(text for text, _ in read_log(url, place))
    assert [line.split(" ", 1)[1] for line in seen.splitlines()] == [f"line {n} é" for n in range(11)]
    assert len(list((tmp_path / "job" / "log").iterdir())) > 2


def test_a_coordinator_that_its_platform_starts_again_is_waited_for():
    job = jobs.Job("toy-1", "runs/toy-1", "", "kubernetes", "")
    patience = jobs.Patience(job)
    assert [patience.is_over(state) for state in ("running", "lost", "running", "passed")] == [
        False,
        False,
        False,
        True,
    ]
    assert jobs.Patience(replace(job, kind="laptop")).is_over("lost")
