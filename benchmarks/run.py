"""The benchmarks, one command: `make bench`, or `make bench ROWS=2000000`.

Every ratio is between programs that ran in this command, on this machine, on the same generated data, in turns; each runs
alone in its own process. Figures go to `docs/benchmarks/`: `results.json`, a table in `README.md`, and `plot.svg`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import psutil

from measure import Trials
from tables import draw, page, with_serving

ROOT = Path(__file__).parent.parent
DASK_ML_ROWS = 2_000_000
"""dask-ml takes 40 times the size of the data in memory, so it gets fewer rows and is compared by rows a second."""


def data_of(rows):
    """Return the generated data of that size, made when it is not there."""
    directory = ROOT / "data" / f"bench-{rows}"
    if not directory.exists():
        subprocess.run(
            [sys.executable, "-m", "headrace", "sample", "clicks", str(directory), "--rows", str(rows)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return directory


def options(about, *, rows, limit):
    """Read the command line of a comparison of programs."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rows", type=int, default=rows)
    parser.add_argument("--limit", type=float, default=limit, help="seconds that one program may take")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    return parser.parse_args()


def write(place, figures, found):
    """Write figures with what each program did, where that is asked for."""
    if place:
        results = {name: asdict(each) for name, each in found.items()}
        document = {"machine": machine(), **figures, "results": results}
        place.write_text(json.dumps(document, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=1800, help="seconds that one alternative may take")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    given = parser.parse_args()
    few = given.rows // 10
    some = (
        given.rows if given.rows <= DASK_ML_ROWS else max(few, DASK_ML_ROWS) if few <= DASK_ML_ROWS else few
    )
    plan = [
        ("profile_arrow", given.rows, given.workers, ""),
        ("profile_headrace", given.rows, given.workers, ""),
        ("profile_duckdb", given.rows, given.workers, "duckdb"),
        ("page_headrace", given.rows, given.workers, ""),
        ("page_ydata", given.rows, given.workers, ""),
        ("fit_headrace", few, given.workers, ""),
        ("fit_headrace", given.rows, 1, ""),
        ("fit_headrace", given.rows, given.workers, ""),
        ("fit_processes", given.rows, 1, ""),
        ("fit_processes", given.rows, given.workers, ""),
        ("fit_sklearn", given.rows, given.workers, ""),
        ("folds_headrace", few, given.workers, ""),
        ("folds_sklearn", few, given.workers, ""),
        ("fit_dask_ml", some, given.workers, "dask_ml"),
        ("fit_ray", some, given.workers, "ray"),
        ("fit_spark", some, given.workers, "pyspark"),
    ]
    trials = [
        Trials(name, data_of(rows), workers=workers, limit=given.limit, needs=needs)
        for name, rows, workers, needs in plan
    ]
    # In turns, so that an hour in which the machine is slow is one for all.
    while any(each.wanted for each in trials):
        for each, (name, rows, workers, _) in zip(trials, plan, strict=True):
            if not each.wanted:
                continue
            print(f"{name} on {rows:,} rows, workers {workers}", end=" ", flush=True, file=sys.stderr)
            each.again()
            known = each.measured
            said = f"{known.each[-1]:.2f} s, {known.peak / 2**20:,.0f} MiB" if known.each else known.error
            print(f"{known.status} {said}", file=sys.stderr)
    results = [
        {
            "asked_rows": rows,
            "workers": workers,
            **asdict(each.measured),
            "rows_per_second": round(each.measured.rate),
        }
        for each, (_, rows, workers, _) in zip(trials, plan, strict=True)
    ]
    document = {"rows": given.rows, "workers": given.workers, "machine": machine(), "results": results}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    served = given.out / "serving.json"
    text = page(document)
    (given.out / "README.md").write_text(
        with_serving(text, json.loads(served.read_text())) if served.exists() else text
    )
    draw(document, given.out / "plot.svg")
    print(given.out / "README.md")


def machine():
    """Say what a reader needs to judge absolute figures."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "processor": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
