"""What a run loads before its stages begin."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("processes", "loaded"), [(False, True), (True, False)])
def test_libraries_are_loaded_ahead_where_workers_are_threads_of_this_process(processes, loaded):
    code = f"""
import sys
from headrace.accumulators import native
from headrace.cluster.config import ClusterFile
from headrace.libraries import load_libraries

load_libraries(ClusterFile(processes={processes}), native=True)
print("skops.io" in sys.modules, native.wanted_loops() is not None)
"""
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout.split() == [str(loaded), str(loaded)]


def test_threads_load_no_pandas_in_the_middle_of_a_pass(tmp_path):
    code = f"""
import sys
from headrace.cluster.config import ClusterFile
from headrace.data.dataset import Dataset
from headrace.data.samples import write_sample
from headrace.profiling.measure import profile_dataset

def loaded():
    return {{name for name in sys.modules if name.startswith("pandas")}}

write_sample("clicks", {str(tmp_path / "clicks")!r}, rows=2_000, workers=1)
with ClusterFile(workers=2, memory=1 << 30, processes=False).connect() as client:
    before = loaded()
    profile_dataset(client, Dataset({str(tmp_path / "clicks")!r}))
    print(len(before) > 0, loaded() - before)
"""
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout.strip() == "True set()"
