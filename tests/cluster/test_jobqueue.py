from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.cluster import slurm
from tests.cluster.conftest import scheduler_of

from headrace.cli import run as headrace
from headrace.cluster.config import load_cluster
from headrace.cluster.jobqueue import JobQueueCluster, QueuedWorkers, SlurmCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.mark.slow
def test_a_job_is_led_by_a_job_of_slurm(
    queue: dict[str, str], in_tmp: Path, small_workflow: str, capsys: pytest.CaptureFixture[str]
):
    Path("cluster.yaml").write_text("".join(f"{key}: {value}\n" for key, value in KEYS.items()))
    assert headrace(["submit", small_workflow, "--cluster", "cluster.yaml"]) == 0
    told = capsys.readouterr()
    name = told.out.strip()
    assert "job 1" in told.err or "of Slurm" in told.err
    assert headrace(["jobs", "wait", name, "--timeout", "240"]) == 0, slurm.ask(queue, "squeue")
    assert Path("runs", name, "report.html").exists()


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
