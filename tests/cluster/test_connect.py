from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

import distributed
import psutil
import pytest

from headrace.cluster.config import ClusterFile
from headrace.cluster.connect import quiet

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"workers": 1, "memory": "512MiB"}


def listening(process: psutil.Process) -> set[str]:
    connections = process.net_connections("inet")
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


def environment(name: str) -> str | None:
    return os.environ.get(name)


def test_threads_share_this_process_with_blas_pinned_and_nothing_left_behind():
    before = os.environ.get("OMP_NUM_THREADS")
    level = logging.getLogger(distributed.__name__).level
    with ClusterFile.model_validate(
        {**SMALL, "workers": 2, "threads": 2, "processes": False}
    ).connect() as client:
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["nthreads"] == 4
        assert worker["memory_limit"] == 1 << 30
        assert client.submit(os.getpid, pure=False).result() == os.getpid()
        assert client.submit(environment, "OMP_NUM_THREADS").result() == "1"
        assert listening(psutil.Process()) <= {"127.0.0.1"}
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert logging.getLogger("distributed").level == level


def loaded(names: list[str]) -> bool:
    return set(names) <= set(sys.modules)


def test_worker_processes_have_loaded_what_tasks_are_made_of_before_the_first_one_comes() -> None:
    with ClusterFile.model_validate({**SMALL, "processes": True}).connect() as client:
        assert client.run(
            loaded, ["headrace.engine.spans", "fsspec", "pandas", "sklearn.linear_model"]
        ).popitem()[1]
    assert loaded(["headrace.skopsio"])


def length(held: list[bytes]) -> int:
    return len(held[0])


def test_what_was_sent_is_let_go_of_with_its_result() -> None:
    with ClusterFile.model_validate({**SMALL, "processes": False}).connect() as client:
        tracemalloc.start()
        try:
            for _ in range(8):
                assert client.submit(length, [bytes(1 << 20)], pure=False).result() == 1 << 20
            time.sleep(0.2)  # the scheduler hears of what is not wanted any more
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert held < 4 << 20


def test_processes_are_pinned_bounded_loopback_only_and_gone_at_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    cluster = ClusterFile.model_validate({**SMALL, "local_directory": str(tmp_path)})
    with cluster.connect() as client:
        pid = client.submit(os.getpid, pure=False).result()
        worker = psutil.Process(pid)
        assert pid != os.getpid()
        assert client.submit(environment, "OPENBLAS_NUM_THREADS").result() == "1"
        (info,) = client.scheduler_info()["workers"].values()
        assert info["memory_limit"] == 512 << 20
        assert listening(worker) | listening(psutil.Process()) <= {"127.0.0.1"}
    _, alive = psutil.wait_procs([worker], timeout=10)
    assert not alive
    assert capfd.readouterr().err == ""


def test_the_workers_end_when_the_work_fails():
    workers = []

    def work() -> None:
        with ClusterFile.model_validate(SMALL).connect() as client:
            workers.append(psutil.Process(client.submit(os.getpid, pure=False).result()))
            client.submit(divmod, 1, 0).result()

    with pytest.raises(ZeroDivisionError):
        work()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


@pytest.mark.parametrize(("error", "told"), [(TimeoutError("Timeout"), 0), (ValueError("news"), 1)])
def test_a_wait_that_a_closing_cluster_left_behind_is_not_told(
    caplog: pytest.LogCaptureFixture, error: Exception, told: int
) -> None:
    with quiet():
        pass
    loop = asyncio.new_event_loop()
    abandoned = loop.create_future()
    abandoned.set_exception(error)
    del abandoned
    gc.collect()
    loop.close()
    assert len([record for record in caplog.records if record.name == "asyncio"]) == told
