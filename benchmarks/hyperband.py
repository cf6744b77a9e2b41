"""Hyperband over 49 settings of `SGDClassifier`: headrace beside dask-ml's `HyperbandSearchCV` on the stack that it runs on.

    python benchmarks/hyperband.py [--rows 2000000] [--limit 1800] [--json FILE]

Both draw settings from the same bounds, judge them by a tenth of the rows, and test the best by the last twentieth. Each
program runs alone in its own process; the memory is that of its whole tree.
"""

from __future__ import annotations

import json

from measure import measure
from run import data_of, options, write

NAMES = ("hyperband_headrace", "hyperband_dask_ml")


def main() -> None:
    given = options(__doc__, rows=2_000_000, limit=1800)
    found = {name: measure(name, data_of(given.rows), workers=2, limit=given.limit) for name in NAMES}
    for name, each in found.items():
        said = each.document or {}
        told = (
            f"AUC {said['auc']:.4f}, {said['rows_learnt']:,} rows learnt from, {said['rows_read']:,} read"
            if said
            else each.error
        )
        print(f"{name:20} {each.status:8} {each.seconds:8.1f} s {each.peak / 2**20:8,.0f} MiB  {told}")
    ours, theirs = found.values()
    figures: dict[str, object] = {}
    if ours.document and theirs.document:
        figures = {
            "time_ratio": round(ours.seconds / theirs.seconds, 3),
            "memory_ratio": round(ours.peak / theirs.peak, 3),
            "auc_difference": round(ours.document["auc"] - theirs.document["auc"], 6),
        }
        print(json.dumps(figures))
    write(given.json, {"rows": given.rows, **figures}, found)


if __name__ == "__main__":
    main()
