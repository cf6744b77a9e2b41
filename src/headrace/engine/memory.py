"""Resident memory of this process, now and at its peak."""

from __future__ import annotations

import ctypes
import platform
import resource
import sys
from pathlib import Path

import pyarrow as pa


def peak_resident_bytes() -> int:
    """Peak resident memory of this process in bytes.

    Linux keeps the peak of the current program in ``/proc/self/status``; ``getrusage`` would count what the parent
    held before ``exec``.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


def give_back() -> None:
    """Give memory that is free in this process back to the system: what Arrow and glibc keep for the next chunk."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
