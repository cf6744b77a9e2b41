"""A run whose directory is on an object store: killed, followed and resumed like one on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.faults.test_lost_workers import PROGRAM, make

from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.data.storage import exists, join, list_names, read_json
from headrace.engine.lease import newest
from headrace.errors import InputError
from headrace.packaging.registry import Registry
from headrace.runs import Workflow

if TYPE_CHECKING:
    from pathlib import Path

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)


def prepare(place: Path, registry: str) -> None:
    make(place)
    text = (place / "w.yaml").read_text() + f"publish: {{registry: '{registry}'}}\n"
    (place / "w.yaml").write_text(text)


@pytest.mark.parametrize(
    "store", ["s3", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gcs", "azure"))]
)
def test_a_run_on_a_store_is_killed_and_goes_on(
    store: str, in_tmp: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = request.getfixturevalue(store)
    prepare(in_tmp, join(url, "registry"))
    monkeypatch.setattr(chunks, "LARGEST", 10_000)
    run = join(url, "run")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", "w.yaml", "--run", run],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    end = time.monotonic() + 180
    while not exists(join(run, "ledger", "00000005.json")):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(process.communicate()[1])
        time.sleep(0.05)
    with pytest.raises(InputError, match=f"process {process.pid} on .* is working on this run"):
        Workflow.resume(run, THREADS)
    process.kill()
    process.communicate()
    with pytest.MonkeyPatch.context() as patch:  # as a version would that cuts chunks in another way
        patch.setattr(chunks, "LARGEST", 20_000)
        with pytest.raises(InputError, match=r"cut into \d+ chunks, and the run began with 8"):
            Workflow.resume(run, THREADS)
    resumed = Workflow.resume(run, THREADS).run
    whole = Workflow.load("w.yaml").run(THREADS, "whole").run
    assert resumed["model_sha256"] == whole["model_sha256"]
    assert resumed["resumed"] == 1
    assert [each["rows"] for each in resumed["passes"]] == [each["rows"] for each in whole["passes"]]
    number, holder = newest(join(run, "ledger"))
    assert number == 3
    assert holder is not None
    assert holder.released
    assert read_json(join(run, "run.json"))["status"] == "passed"
    assert {"report.html", "model", "workflow.yaml"} <= set(list_names(run))
    assert Registry(join(url, "registry")).versions("toy") == [1, 2]  # this run's, then the other's
    assert json.dumps(read_json(join(run, "plan.json")))
