"""Boosted trees on `clicks`: headrace on two workers of 1 GiB beside XGBoost in memory and `xgboost.dask`.

    python benchmarks/trees.py [--rows 20000000] [--limit 1800] [--json FILE]

A hundred rounds of depth 6 with the columns of words as codes, learnt from the rows before a day and judged by those
after it, the same for all; headrace sets one in a hundred of the rows before it aside. Each program runs alone in its own process; the memory is that of its whole tree.
The goals: workers below their memory, an AUC within 0.001 of that in memory.
"""

from __future__ import annotations

import json

from measure import measure
from run import data_of, options, write

GOAL = 0.001
NAMES = ("trees_headrace", "trees_memory", "trees_dask")


def main() -> None:
    given = options(__doc__, rows=20_000_000, limit=1800)
    data = data_of(given.rows)
    found = {}
    for name in NAMES:
        found[name] = measure(name, data, workers=2, limit=given.limit)
        said = found[name].document or {}
        auc = f"AUC {said['auc']:.5f}" if said else found[name].error
        peak = found[name].peak / 2**20
        print(
            f"{name:16} {found[name].status:8} {found[name].seconds:8.1f} s {peak:8,.0f} MiB  {auc}",
            flush=True,
        )
    ours, theirs = (found[name] for name in NAMES[:2])
    figures: dict[str, object] = {}
    if ours.document and theirs.document:
        figures = {
            "auc_difference": round(ours.document["auc"] - theirs.document["auc"], 6),
            "goal": -GOAL,
            "time_ratio": round(ours.seconds / theirs.seconds, 2),
            "largest_worker_mib": round(max(ours.document["peak_rss_bytes"]["workers"].values()) / 2**20),
        }
        print(json.dumps(figures))
    write(given.json, {"rows": given.rows, **figures}, found)


if __name__ == "__main__":
    main()
