"""What is refused before anything runs: a scheduler that does not answer, and workers with other packages."""

from __future__ import annotations

import json
import socket
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.conftest import SECONDS, complaint, require_same, until

from headrace.cli import run as headrace
from headrace.cluster import jobs, joining
from headrace.cluster.jobs import Job

if TYPE_CHECKING:
    from tests.faults.conftest import Site

pytestmark = pytest.mark.timeout(1_800)  # waits for other processes, on a machine that may be busy


@pytest.mark.slow
@pytest.mark.parametrize("listens", [True, False])
def test_a_scheduler_that_does_not_answer_is_one_line_and_the_run_goes_on_when_it_does(
    listens: bool, site: Site, whole: dict[str, Any]
) -> None:
    # The system takes connections for one that listens, so that they are there and nothing comes.
    with socket.create_server(("127.0.0.1", site.port)) if listens else nullcontext():
        asked = site.lead(), site.start("-m", "headrace", "submit", "w.yaml", "--cluster", "cluster.yaml")
        said, submitted = (complaint(each) for each in asked)
    assert said == submitted
    assert "kind: address: the scheduler cannot be reached (Timed out" in said
    assert f"tcp://127.0.0.1:{site.port}" in said
    assert f"after {joining.CONNECT_SECONDS:.0f} s" in said
    assert jobs.list_jobs("runs") == []
    record = json.loads((site.place / "run" / "run.json").read_text())
    assert (record["status"], f"headrace: {record['error']}") == ("failed", said)
    site.scheduler()
    site.worker("one")
    require_same(site.lead("--resume", "run"), whole)


def test_a_job_whose_scheduler_is_gone_when_it_begins_says_so_and_goes_on_when_resumed(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job("toy", str(site.place / "runs" / "toy"), "0", "address", "2026-01-01T00:00:00+00:00")
    assert jobs.record(job, (site.place / "w.yaml").read_text(), (site.place / "cluster.yaml").read_text())
    monkeypatch.setattr(joining, "CONNECT_SECONDS", 0.5)
    assert headrace(["jobs", "lead", job.url]) == 1
    assert headrace(["jobs", "status", "toy"]) == 0
    told = capsys.readouterr().out
    assert "state      failed\n" in told
    assert "error      kind: address: the scheduler cannot be reached (Timed out" in told
    assert headrace(["jobs", "wait", "toy"]) == 1
    assert "toy failed: kind: address: the scheduler cannot be reached" in capsys.readouterr().out
    assert headrace(["jobs", "resume", "toy"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert jobs.status(job)[0] == "failed"
    assert replace(jobs.read_job(job.url), place={}) == job


def other_version(site: Site, package: str) -> dict[str, str]:
    """Environment in which a package says that it is of another version."""
    old = site.place / "old" / f"{package}-0.0.1.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.0.1\n")
    return {"PYTHONPATH": str(old.parent)}


@pytest.mark.slow
@pytest.mark.parametrize("package", ["numpy", "headrace"])
def test_another_version_on_one_worker_is_named_before_anything_runs(
    package: str, site: Site, whole: dict[str, Any]
) -> None:
    site.scheduler()
    good = site.worker("good")
    wrong = site.worker("wrong", environment=other_version(site, package))
    site.cluster_file(workers=2)
    said = complaint(site.lead())
    assert f"{package} is {version(package)} here and 0.0.1 on tcp://127.0.0.1:" in said
    assert "install the same versions on both" in said
    assert not site.works(good)
    assert not site.works(wrong)
    wrong.terminate()
    site.worker("another")
    with site.watched() as counted:
        until(lambda: counted() == {"good", "another"}, good)
    require_same(site.lead("--resume", "run"), whole)


@pytest.mark.slow
@pytest.mark.parametrize("package", ["pyarrow", "headrace"])
def test_a_worker_that_comes_later_with_another_version_is_not_used(
    package: str, site: Site, whole: dict[str, Any]
) -> None:
    site.pace(SECONDS)
    site.scheduler()
    good = site.worker("good")
    coordinator = site.lead()
    until(lambda: site.works(good), coordinator, good)
    wrong = site.worker("wrong", environment=other_version(site, package))
    until(lambda: wrong.poll() is not None, coordinator, good)
    assert not site.works(wrong)
    site.pace(0)
    out, err = coordinator.communicate(timeout=SECONDS)
    assert coordinator.returncode == 0, err
    assert json.loads(out)["model_sha256"] == whole["model_sha256"]
    assert (
        f"is not used, for it is not as this process: {package} is {version(package)} here and 0.0.1 on tcp:"
        in err
    )
