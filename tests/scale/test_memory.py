"""Whole runs of inputs that are hard on memory: each keeps its budget, and what it measures is within its projection."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20


def write(place: Path, tables: list[pa.Table], **options: Any) -> None:
    (place / "data").mkdir()
    with pq.ParquetWriter(place / "data" / "a.parquet", tables[0].schema, **options) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=table.num_rows)


def labels(rows: int) -> pa.Array:
    return pa.array(np.random.default_rng(1).integers(0, 2, rows))


def giant_row_group(place: Path) -> None:
    """One row group of some 400 MiB decoded."""
    rng, rows = np.random.default_rng(0), 12_000_000
    write(
        place,
        [pa.table({"x": rng.random(rows), "z": rng.random(rows), "i": np.arange(rows), "y": labels(rows)})],
    )


def huge_strings(place: Path) -> None:
    """Texts of 1 MB, no two alike: 800 MB."""

    def part(number: int) -> pa.Table:
        texts = [f"{number}-{row}-" + "x" * 1_000_000 for row in range(8)]
        return pa.table({"text": texts, "x": np.arange(8.0) + number, "y": np.arange(8) % 2})

    write(place, [part(number) for number in range(100)], compression="zstd", use_dictionary=False)


def million_distinct(place: Path) -> None:
    """A column of a million distinct texts."""

    def part(number: int) -> pa.Table:
        rows = 100_000
        names = [f"customer-{number * rows + row:012}" for row in range(rows)]
        rng = np.random.default_rng(number)
        return pa.table({"name": names, "x": rng.random(rows), "y": labels(rows)})

    write(place, [part(number) for number in range(10)])


def ten_thousand_columns(place: Path) -> None:
    """Numbers, no two alike: 1.6 GB."""
    rng = np.random.default_rng(0)

    def part() -> pa.Table:
        rows = 2_000
        return pa.table({**{f"x{i}": rng.random(rows) for i in range(10_000)}, "y": labels(rows)})

    write(place, [part() for _ in range(10)])


def wide_row_group(place: Path) -> None:
    """One row group of 5,000 columns: 800 MB."""
    rng, rows = np.random.default_rng(0), 20_000
    write(place, [pa.table({**{f"x{i}": rng.random(rows) for i in range(5_000)}, "y": labels(rows)})])


def headrace(
    place: Path, memory: str, *, processes: bool = True, **changes: Any
) -> subprocess.CompletedProcess[str]:
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data"},
        "models": [{"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": 1},
        "checks": {"on_fail": "warn"},
        "evaluate": {"bootstrap": 5},
        **changes,
    }
    (place / "w.yaml").write_text(yaml.safe_dump(document))
    (place / "c.yaml").write_text(f"workers: 1\nmemory: {memory}\nprocesses: {str(processes).lower()}\n")
    return subprocess.run(
        [sys.executable, "-m", "headrace", "run", "w.yaml", "--run", "run", "--cluster", "c.yaml"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.scale
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    ("make", "memory", "processes"),
    [
        (giant_row_group, "640MiB", True),
        (huge_strings, "640MiB", True),
        (million_distinct, "640MiB", True),
        (million_distinct, "640MiB", False),
        (ten_thousand_columns, "2GiB", True),
        (wide_row_group, "2GiB", True),
    ],
)
def test_a_hard_input_keeps_its_budget_and_its_projection(
    make: Callable[[Path], None], memory: str, processes: bool, tmp_path: Path
) -> None:
    make(tmp_path)
    done = headrace(tmp_path, memory, processes=processes)
    assert done.returncode == 0, done.stderr[-2_000:]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (peak,) = record["peak_rss_bytes"]["workers"].values()
    projected, budget = record["memory_projected"], record["memory_budget"]
    leading = (record["peak_rss_bytes"]["coordinator"], record["memory_leading"])
    figures = [f"{size / MIB:.0f} MiB" for size in (peak, projected, budget, *leading)]
    # Shown by `pytest --log-cli-level=INFO`.
    logging.getLogger(__name__).info(
        "%s: peak %s, projected %s, budget %s; leading process %s, projected %s", make.__name__, *figures
    )
    assert projected <= budget
    # Where workers are threads of the leading process, they and it have one peak.
    assert leading[0] <= leading[1]
    assert not processes or peak <= projected


@pytest.mark.scale
def test_what_is_too_wide_for_the_budget_is_refused_before_the_run(tmp_path: Path) -> None:
    rows = 5_000
    values = pa.array(np.arange(rows) / 7)
    write(tmp_path, [pa.table({**{f"x{i}": values for i in range(10_000)}, "y": labels(rows)})])
    done = headrace(tmp_path, "512MiB")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert "needs about" in last
    assert "data.drop" in last
    assert not (tmp_path / "run").exists()
