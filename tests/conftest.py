"""Clusters that tests share: starting one takes longer than most tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from tests.browser import browser
from tests.servers import azure, azure_server, gcs, gcs_server, s3, s3_server, web

from headrace.cluster.config import ClusterFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from distributed import Client

# One thread in BLAS, as on workers: read by the libraries when they are loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__all__ = [
    "azure",
    "azure_server",
    "browser",
    "gcs",
    "gcs_server",
    "s3",
    "s3_server",
    "web",
]  # fixtures of other modules

# `make test` draws the same examples each time, so that a change is judged by what it changed; `make test-all` draws
# new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HEADRACE_EXAMPLES", "same"))


@pytest.fixture(scope="session", autouse=True)
def blocks_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep prepared blocks out of the user's cache directory, in this process and in those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def threads() -> Iterator[Client]:
    """A cluster of two threads in this process."""
    with ClusterFile(workers=2, processes=False, memory=1 << 30).connect() as client:
        yield client


@pytest.fixture(scope="session")
def processes() -> Iterator[Client]:
    """A cluster of two worker processes."""
    with ClusterFile(workers=2, memory=1 << 30).connect() as client:
        yield client


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
