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
