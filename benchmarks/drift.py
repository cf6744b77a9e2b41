"""False alarms and found shifts of drift, and wrong verdicts of A/B under peeking, by simulation.

python benchmarks/drift.py [--looks 2000]
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import pyarrow as pa

from headrace.monitoring.ab import compare_arms
from headrace.monitoring.drift import find_drift
from headrace.monitoring.grids import Grid
from headrace.monitoring.performance import Outcomes, Sums
from headrace.monitoring.tallies import Tally
from headrace.packaging.signature import InputColumn, Signature
from headrace.profiling.profile import profile_table

REFERENCE, RATE = 100_000, 0.01


def columns(rows: int, rng: np.random.Generator, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Draw ten inputs that hang together, of which the first is shifted by `shift` standard deviations."""
    shared = rng.normal(size=rows)
    found: dict[str, np.ndarray] = {}
    for place in range(4):
        found[f"normal {place}"] = 0.7 * shared + rng.normal(size=rows) + (1.22 * shift if place == 0 else 0)
    found["heavy"] = rng.standard_t(1.5, rows)
    found["count"] = rng.poisson(2, rows).astype(float)
    found["holes"] = np.where(rng.random(rows) < 0.3, np.nan, rng.exponential(size=rows))
    found["few"] = rng.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1]).astype(object)
    found["many"] = np.array([f"v{i}" for i in np.minimum(rng.zipf(1.5, rows), 3000)], dtype=object)
    found["rare"] = rng.choice(["x", "y"], rows, p=[0.999, 0.001]).astype(object)
    return found


def alarms(rows: int, looks: int, shift: float, grid: Grid, rng: np.random.Generator) -> float:
    """Share of looks at which any input is told at the rate `RATE`, whatever its size."""
    told = 0
    for _ in range(looks):
        drawn = columns(rows, rng, shift)
        tallies = {name: Tally.of(values, grid.inputs[name]) for name, values in drawn.items()}
        found = find_drift(grid.inputs, tallies, false_alarms=RATE)
        told += any(drift.chance < RATE / len(found) for drift in found.values())
    return told / looks


def wrong_verdicts(runs: int, rng: np.random.Generator) -> dict[str, float]:
    """Share of tests of equals that end with a verdict, looked at every 100 of 20,000 labels of each arm."""
    wrong = plain = 0
    for _ in range(runs):
        one, other = (np.cumsum(rng.random(20_000) < 0.2) for _ in range(2))
        verdicts, crossed = set(), False
        for k in range(100, 20_001, 100):
            a, b = (
                Outcomes({"error": Sums(k, float(side[k - 1]), float(side[k - 1]))}) for side in (one, other)
            )
            found = compare_arms(a, b, "error")
            assert found is not None
            verdicts.add(found.verdict)
            crossed |= not found.low <= 0 <= found.high
        wrong += verdicts != {"open"}
        plain += crossed
    return {"confidence sequence": wrong / runs, "plain 95 % interval": plain / runs}


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--looks", type=int, default=2000)
    looks = parser.parse_args().looks
    rng = np.random.default_rng(0)
    table = pa.table({name: pa.array(values) for name, values in columns(REFERENCE, rng).items()})
    profile = profile_table(table)["all"]
    inputs = tuple(InputColumn(name, column.type, column.kind) for name, column in profile.columns.items())
    grid = Grid.of(profile, Signature(inputs, "regression"))
    document = {
        "stated rate": RATE,
        "looks": looks,
        "false alarms": {rows: alarms(rows, looks, 0.0, grid, rng) for rows in (60, 300, 3000)},
        "found, shift of half a standard deviation": {
            rows: alarms(rows, max(50, looks // 10), 0.5, grid, rng) for rows in (60, 300, 3000)
        },
        "wrong verdicts at 5 %, 200 looks": wrong_verdicts(max(50, looks // 5), rng),
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
