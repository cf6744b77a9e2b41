"""Small Parquet files for the tests of `headrace.data`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write columns as a Parquet file below the dataset ``tmp_path / "data"``."""

    def write_file(name: str, columns: dict[str, Any] | pa.Table, **options: Any) -> Path:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pq.write_table(table, path, **options)
        return path

    return write_file


@pytest.fixture(params=["local", "memory", "s3", "gcs", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place on each kind of storage."""
    if request.param == "local":
        return str(tmp_path / "place")
    if request.param in {"s3", "gcs", "azure"}:
        return str(request.getfixturevalue(request.param))
    filesystem = fsspec.filesystem("memory")
    if filesystem.exists("/place"):
        filesystem.rm("/place", recursive=True)
    return "memory://place"
