from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.cluster import config
from headrace.cluster.config import (
    MOST_THREADS,
    SMALL_DATA,
    ClusterFile,
    available_cores,
    default_cluster,
    load_cluster,
)
from headrace.cluster.workers import parse_bytes
from headrace.errors import WorkflowError

if TYPE_CHECKING:
    from pathlib import Path


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    return str(path)


def test_sizes_are_read_in_decimal_and_binary_units():
    assert parse_bytes("1GiB") == 1 << 30
    assert parse_bytes("800 MB") == 800_000_000
    assert parse_bytes("1.5g") == 1_500_000_000
    assert parse_bytes(123) == 123


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["", "B", "kB", "KiB", "MiB", "GiB", "TiB", "k", "Mi"]))
def test_a_size_is_its_number_times_the_size_of_its_unit(number: int, unit: str):
    assert parse_bytes(f"{number}{unit}") == number * parse_bytes(f"1{unit}")


@pytest.mark.parametrize("text", ["", "GiB", "1 potato", "-1GiB", "1e3", "0x10", True])
def test_what_is_not_a_size_is_refused(text: str):
    with pytest.raises(ValueError, match="write it as"):
        parse_bytes(text)


def test_the_default_is_this_machine_with_60_percent_of_its_memory():
    cluster = default_cluster()
    assert cluster.worker_count == available_cores()
    assert cluster.dashboard == "off"
    assert load_cluster(None) == cluster


@pytest.mark.parametrize(
    ("cores", "processes"), [(1, False), (MOST_THREADS, False), (MOST_THREADS + 1, True)]
)
def test_small_data_and_few_cores_get_threads_of_one_process(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: bool
):
    monkeypatch.setattr(config, "available_cores", lambda: cores)
    assert not default_cluster(SMALL_DATA - 1).processes
    assert default_cluster(SMALL_DATA).processes == processes
    assert default_cluster().processes == processes


def test_a_file_is_read_with_its_units(tmp_path: Path):
    cluster = load_cluster(
        write(tmp_path, "kind: laptop\nworkers: 2\nthreads: 3\nmemory: 512MiB\ndashboard: off\n")
    )
    assert (cluster.worker_count, cluster.threads, cluster.memory_bytes) == (2, 3, 512 << 20)
    assert (cluster.process_count, cluster.process_memory) == (2, 512 << 20)


def test_threads_only_is_one_process_with_the_memory_of_all_workers(tmp_path: Path):
    cluster = load_cluster(write(tmp_path, "workers: 4\nmemory: 256MiB\nprocesses: false\n"))
    assert (cluster.process_count, cluster.process_memory) == (1, 1 << 30)
    assert cluster.memory_bytes == 256 << 20


def test_the_cluster_file_for_users_is_valid():
    cluster = load_cluster("cluster/laptop.yaml")
    assert (cluster.worker_count, cluster.threads, cluster.memory_bytes) == (2, 1, 1 << 30)


def test_a_dashboard_is_on_loopback_unless_a_host_is_named():
    assert ClusterFile(dashboard="8787").dashboard == "127.0.0.1:8787"
    assert ClusterFile(dashboard=":8787").dashboard == "127.0.0.1:8787"
    assert ClusterFile(dashboard="10.0.0.1:8787").dashboard == "10.0.0.1:8787"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: slrum\n", "use one of laptop, address, ssh, slurm"),
        ("kind: slurm\n", "memory: is missing"),
        ("wokers: 2\n", "did you mean workers?"),
        ("workers: 0\n", "workers"),
        ("workers: many\n", "not 'many'"),
        ("memory: lots\n", "write it as 1GiB"),
        ("memory: 1MiB\n", "at least 256MiB"),
        ("memory: 900TiB\n", "lower memory or workers"),
        ("dashboard: maybe\n", "write off or 127.0.0.1:8787"),
        ("workers: [\n", "is not YAML"),
        ("", "is empty"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_mend(tmp_path: Path, text: str, expected: str):
    path = write(tmp_path, text)
    with pytest.raises(WorkflowError) as caught:
        load_cluster(path)
    line = str(caught.value)
    assert line.startswith(path)
    assert expected in line
    assert "\n" not in line


def test_a_missing_file_is_named():
    with pytest.raises(WorkflowError, match=r"nowhere\.yaml: no such file"):
        load_cluster("nowhere.yaml")
