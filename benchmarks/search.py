"""Random search of 32 settings of `SGDClassifier` in 3 folds: headrace in one read beside scikit-learn in memory.

    python benchmarks/search.py [--rows 5000000] [--limit 3600] [--json FILE]

Both try the settings that headrace drew, for one epoch each, in the same folds, which stand in a column of the data, and
prepare rows in the same way, learnt from the training rows of each fold. Each program runs alone in its own process; the
memory is that of its whole tree. Scores are areas under the ROC curve, means over the folds; the two programs judge by
different rows of a fold, and see rows in a different order, so that candidates that are as good may change places.
"""

from __future__ import annotations

import json
import sys

from scipy.stats import spearmanr

from measure import ALTERNATIVES, measure
from run import data_of, options, write

sys.path.insert(0, str(ALTERNATIVES))
from search_work import CANDIDATES, FOLDS, run_of, with_folds

NAMES = ("search_headrace", "search_sklearn")


def compared(board, ours, theirs):
    """Compare times, memory and scores of both programs."""
    mine = {row["candidate"]: row["validation"]["roc_auc"] for row in board["rows"] if not row["is_baseline"]}
    said = theirs.document["scores"]
    first, second = max(mine, key=mine.get), max(said, key=said.get)
    return {
        "time_ratio": round(ours.seconds / theirs.seconds, 3),
        "time_ratio_whole_process": round(ours.wall / theirs.wall, 3),
        "memory_ratio": round(ours.peak / theirs.peak, 3),
        "winner": {"headrace": first, "scikit-learn": second},
        "same_winner": first == second,
        "place_of_our_winner": 1 + sum(score > said[first] for score in said.values()),
        "auc_lost_by_our_winner": round(said[second] - said[first], 6),
        "rank_correlation": round(float(spearmanr([mine[name] for name in said], [*said.values()])[0]), 4),
        "largest_difference_of_a_score": round(max(abs(mine[name] - said[name]) for name in said), 6),
        "candidates": [
            {"candidate": row["candidate"], "params": row["params"], "headrace": mine[row["candidate"]],
             "scikit-learn": said[row["candidate"]]}
            for row in board["rows"] if row["candidate"] in mine
        ],
    }  # fmt: skip


def main() -> None:
    given = options(__doc__, rows=5_000_000, limit=3600)
    source = data_of(given.rows)
    data = source.with_name(f"{source.name}-folds")
    if not data.exists():
        with_folds(source, data)
    found = {}
    for name in NAMES:
        found[name] = measure(name, data, workers=2, limit=given.limit)
        each = found[name]
        print(
            f"{name:16} {each.status:8} {each.seconds:8.1f} s {each.peak / 2**20:8,.0f} MiB  {each.error}",
            flush=True,
        )
    ours, theirs = (found[name] for name in NAMES)
    figures: dict[str, object] = {}
    if ours.document and theirs.document:
        board = json.loads((run_of(data) / "leaderboard.json").read_text())
        figures = compared(board, ours, theirs)
        print(json.dumps({key: value for key, value in figures.items() if key != "candidates"}, indent=1))
    write(given.json, {"rows": given.rows, "fits": CANDIDATES * FOLDS, **figures}, found)


if __name__ == "__main__":
    main()
