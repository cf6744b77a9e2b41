from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cluster import slurm
from tests.cluster.conftest import scheduler_of, write_flights, write_workflow

from headrace.cli import run as headrace
from headrace.cluster import jobs
from headrace.cluster.config import ClusterFile, load_cluster
from headrace.cluster.jobqueue import JobQueueCluster, QueuedWorkers, SlurmCluster
from headrace.data.storage import read_json
from headrace.runs import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.cluster.jobs import Job

    Submit = Callable[..., list[Job]]

WAIT = 500.0
"""Seconds that a test waits for a job, on a machine that may have much else to do."""

KEYS = {
    "kind": "slurm",
    "queue": "debug",
    "interface": "lo",
    "memory": "512MiB",
    "time_limit": "10min",
    "wait": "2min",
}


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A running Slurm, found by this process."""
    if slurm.missing():
        pytest.skip(slurm.missing())
    with slurm.slurm(tmp_path_factory.mktemp("slurm")) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield {**os.environ, **environment}


def squeue(queue: dict[str, str]) -> list[str]:
    return sorted(slurm.ask(queue, "squeue", "-h", "-o", "%i").split())


@pytest.mark.slow
def test_workers_are_jobs_and_one_that_is_cancelled_is_replaced(queue: dict[str, str], in_tmp: Path):
    cluster = SlurmCluster.model_validate({**KEYS, "workers": 2})
    with cluster.connect() as client:
        assert client.submit(os.environ.get, "OPENBLAS_NUM_THREADS").result() == "1"
        settings = client.run(memory_settings)
        assert set(settings.values()) == {(False, 1.5)}
        first, second = squeue(queue)
        subprocess.run(["scancel", first], env=queue, check=True)
        slurm.wait_for(lambda: first not in squeue(queue) and len(squeue(queue)) == 2, 90)
        assert second in squeue(queue)
        client.wait_for_workers(2, timeout=60)
    slurm.wait_for(lambda: squeue(queue) == [], 30)


def memory_settings() -> tuple[Any, Any]:
    import dask

    memory = dask.config.get("distributed.worker.memory")
    return memory["spill"], memory["terminate"]


memory_settings.__module__ = "__main__"  # sent by value: a worker does not have this file


@pytest.mark.slow
def test_workers_are_encrypted_off_loopback(queue: dict[str, str], in_tmp: Path):
    class Elsewhere(SlurmCluster):
        on_this_machine = property(lambda _self: False)  # as nodes of a network are

    cluster = Elsewhere.model_validate({**KEYS, "shared_directory": str(in_tmp)})
    with cluster.connect() as client:
        assert scheduler_of(client).startswith("tls://")
        (place,) = in_tmp.glob(".headrace-*")
        assert all(path.stat().st_mode & 0o077 == 0 for path in (place, *place.iterdir()))
        assert client.submit(divmod, 7, 2).result() == (3, 1)
    assert not place.exists()


@pytest.fixture
def submitted(queue: dict[str, str], in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Submit]:
    """Submits a workflow to Slurm, with further words; gives its jobs."""
    Path("cluster.yaml").write_text("".join(f"{key}: {value}\n" for key, value in KEYS.items()))

    def submit(workflow: str, *words: str, file: str = "cluster.yaml") -> list[Job]:
        assert headrace(["submit", workflow, "--cluster", file, *words]) == 0
        told = capsys.readouterr()
        return jobs.find_jobs(told.out.strip(), "runs")

    yield submit
    for number in squeue(queue):
        subprocess.run(["scancel", number], env=queue, check=True)


def until_training(job: Job) -> None:
    def stage() -> str:
        beat = jobs.read_heartbeat(job.url)
        return beat.stage if beat is not None else ""

    slurm.wait_for(lambda: stage() == "train", WAIT)


def seen(queue: dict[str, str], job: Job) -> str:
    """The job of Slurm that leads a job, as Slurm shows it."""
    return slurm.ask(queue, "scontrol", "show", "job", str(job.place["slurm"]))


def passes(job: Job) -> bool:
    return headrace(["jobs", "wait", job.url, "--timeout", str(WAIT)]) == 0


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_job_is_led_by_a_job_of_slurm_that_is_requeued_and_goes_on(
    queue: dict[str, str], submitted: Submit
):
    workflow = write_workflow(epochs=100)
    whole = Workflow.load(workflow).run(ClusterFile(workers=1, processes=False), "whole").run
    (job,) = submitted(workflow)
    until_training(job)
    subprocess.run(["scontrol", "requeue", str(job.place["slurm"])], env=queue, check=True)
    assert passes(job), slurm.ask(queue, "squeue")
    assert Path(job.url, "report.html").exists()
    assert read_json(f"{job.url}/run.json")["model_sha256"] == whole["model_sha256"]
    assert "".join(text for text, _ in jobs.read_log(job.url)).count("coordinator ") == 2
    slurm.wait_for(lambda: "ExitCode=0:0" in seen(queue, job), 60)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_flights_from_submit_to_report(queue: dict[str, str], submitted: Submit):
    workflow = write_flights()
    whole = Workflow.load(workflow).run(ClusterFile(workers=2, processes=False, memory=1 << 30), "whole").run
    document = {"extends": "cluster.yaml", "workers": 2, "memory": "1GiB"}
    Path("larger.yaml").write_text(yaml.safe_dump(document))
    (job,) = submitted(workflow, file="larger.yaml")
    until_training(job)
    assert len(squeue(queue)) == 3  # what leads and two workers
    assert passes(job), slurm.ask(queue, "squeue")
    assert "<svg" in Path(job.url, "report.html").read_text()
    assert read_json(f"{job.url}/run.json")["model_sha256"] == whole["model_sha256"]


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_job_at_its_time_limit_stops_in_time_and_is_resumed(queue: dict[str, str], submitted: Submit):
    began = time.monotonic()
    (job,) = submitted(write_workflow(epochs=3_000))
    until_training(job)
    number = str(job.place["slurm"])
    # in whole minutes; of the last it is told when it begins
    minutes = int(time.monotonic() - began + 20) // 60 + 1
    subprocess.run(["scontrol", "update", f"JobId={number}", f"TimeLimit={minutes}"], env=queue, check=True)
    slurm.wait_for(lambda: "ExitCode=75:0" in seen(queue, job), 120)
    assert jobs.status(job)[0] == "stopped"
    assert headrace(["jobs", "resume", job.url]) == 0
    job = jobs.read_job(job.url)
    assert job.place["slurm"] != number
    until_training(job)
    assert headrace(["jobs", "cancel", job.url]) == 0
    slurm.wait_for(lambda: "ExitCode=130:0" in seen(queue, job), 300)
    assert jobs.status(job)[0] == "cancelled"


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_each_job_of_an_array_is_one_of_slurm_and_one_that_fails_says_so(
    queue: dict[str, str], submitted: Submit
):
    workflow = write_workflow()
    Path("each.yaml").write_text("- {seed: 1}\n- {seed: 2}\n- {data.url: nowhere}\n")
    first, second, wrong = submitted(workflow, "--each", "each.yaml")
    assert len({job.place["slurm"] for job in (first, second, wrong)}) == 3
    for seed, job in enumerate((first, second), 1):
        assert passes(job), slurm.ask(queue, "squeue")
        alone = Workflow.load(workflow).with_seed(seed).run(ClusterFile(workers=1, processes=False))
        assert read_json(f"{job.url}/run.json")["model_sha256"] == alone.run["model_sha256"]
    assert not passes(wrong)
    assert "ExitCode=2:0" in seen(queue, wrong)


def script(cluster: QueuedWorkers) -> str:
    with cluster.make(None) as made:
        return str(made.job_script())


def test_a_job_asks_for_what_the_file_says(in_tmp: Path):
    more = {
        "account": "ml",
        "directives": ["--constraint=nvme"],
        "prologue": ["module load python"],
        "threads": 3,
    }
    text = script(SlurmCluster.model_validate({**KEYS, **more}))
    for line in (
        "#SBATCH -p debug",
        "#SBATCH -A ml",
        "#SBATCH --cpus-per-task=3",
        "#SBATCH --mem=768M",
        "#SBATCH -t 00:10:00",
        "#SBATCH --constraint=nvme",
        "export OMP_NUM_THREADS=1",
        "module load python",
    ):
        assert line in text
    assert "--memory-limit 512.00MiB" in text


def test_an_interrupt_of_a_process_that_has_such_workers_is_one():
    lines = (
        "import signal",
        "from headrace.cluster.jobqueue import SlurmCluster",
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what is in the background without",
        f"with SlurmCluster.model_validate({KEYS}).make(None):",
        "    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


@pytest.mark.parametrize(
    ("system", "line"),
    [
        ("pbs", "#PBS -l walltime=00:10:00"),
        ("moab", "#PBS -A ml"),
        ("sge", "#$ -P ml"),
        ("lsf", "#BSUB -W 00:10"),
        ("oar", "#OAR --project ml"),
    ],
)
def test_other_queues_are_asked_in_their_words(in_tmp: Path, system: str, line: str):
    keys: dict[str, Any] = {**KEYS, "kind": "jobqueue", "system": system, "account": "ml"}
    if system == "oar":  # which dask-jobqueue cannot ask for memory without
        keys["options"] = {"memory_per_core_property_name": "mem_core"}
    cluster = JobQueueCluster.model_validate(keys)
    assert line in script(cluster)


def test_bounds_are_read_from_the_file(in_tmp: Path):
    Path("cluster.yaml").write_text("kind: slurm\nmemory: 1GiB\nworkers: {min: 2, max: 8}\n")
    cluster: Any = load_cluster("cluster.yaml")
    assert (cluster.fewest_workers, cluster.worker_count) == (2, 8)
    assert cluster.encrypted
