from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from tests.cluster.conftest import dask_cluster

from headrace.cluster.address import AddressCluster
from headrace.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path


def write_wheel(folder: Path) -> Path:
    """Write a package of one module that this process does not have."""
    path = folder / "headrace_toy-1.0-py3-none-any.whl"
    info = "headrace_toy-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("headrace_toy.py", "answer = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: headrace-toy\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def answer() -> int:
    from importlib import import_module

    return int(import_module("headrace_toy").answer)


answer.__module__ = "__main__"  # sent by value: a worker does not have this file


def at(address: str, *packages: str) -> AddressCluster:
    return AddressCluster.model_validate(
        {"kind": "address", "address": address, "memory": "512MiB", "wait": "60s", "packages": packages}
    )


def test_workers_get_the_packages_that_they_lack(tmp_path: Path):
    wheel = write_wheel(tmp_path)
    with dask_cluster(environment={"PIP_NO_INDEX": "1"}) as address:
        with at(address, str(wheel)).connect() as client:
            assert client.submit(answer).result() == 42
        with (
            pytest.raises(RunError, match=r"no-such-package-of-headrace.*image that has them"),
            at(address, "no-such-package-of-headrace==1.0").connect(),
        ):
            pass
