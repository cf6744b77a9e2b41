# ruff: noqa: INP001  a script that a test loads by path
"""Short texts whose subject is known, made from what scikit-learn says about its bundled data sets.

``python examples/text/make_data.py data/texts --rows 20000`` writes them as Parquet. Each text is drawn word by word: a word follows
another as often as it does in the description of one of five data sets, and that data set is the subject. So the texts read nearly like
real ones, there may be any number of them, and no two parts of a split share sentences.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn import datasets

SUBJECTS = {
    "flowers": datasets.load_iris,
    "tumours": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "wines": datasets.load_wine,
    "digits": datasets.load_digits,
}
FILES = 4
WORDS = (6, 30)
"""Fewest and most words of a text."""


def followers(text: str) -> dict[str, list[str]]:
    """Return which words follow each word, as often as they do."""
    words = re.findall(r"[a-z]{2,}", text.lower())
    found: dict[str, list[str]] = {}
    for word, following in zip(words, [*words[1:], words[0]], strict=True):
        found.setdefault(word, []).append(following)
    return found


def texts(rows: int, seed: int = 0) -> pa.Table:
    """Draw texts: columns ``text``, now and then missing, ``source`` and ``subject``."""
    rng = np.random.default_rng(seed)
    chains = {subject: followers(load().DESCR) for subject, load in SUBJECTS.items()}
    starts = {subject: list(chain) for subject, chain in chains.items()}
    subjects = rng.choice(list(SUBJECTS), rows)
    written: list[str | None] = []
    for subject in subjects:
        word = starts[subject][rng.integers(len(starts[subject]))]
        said = []
        for _ in range(rng.integers(*WORDS)):
            said.append(word)
            # Now and then a sentence ends, and another one begins anywhere.
            pool = starts[subject] if rng.random() < 0.1 else chains[subject][word]
            word = pool[rng.integers(len(pool))]
        written.append(" ".join(said) if rng.random() > 0.01 else None)
    sources = [f"page-{number}" for number in rng.zipf(1.3, rows) % 5000]
    return pa.table({"text": pa.array(written, pa.string()), "source": sources, "subject": subjects.tolist()})


def write(directory: str, rows: int, seed: int = 0) -> None:
    """Write them as several Parquet files."""
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    table = texts(rows, seed)
    step = -(-rows // FILES)
    for number in range(FILES):
        part = table.slice(number * step, step)
        pq.write_table(part, place / f"part-{number}.parquet", row_group_size=max(1, step // 4))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write short texts with known subjects as Parquet.")
    parser.add_argument("directory")
    parser.add_argument("--rows", type=int, default=20_000)
    arguments = parser.parse_args()
    write(arguments.directory, arguments.rows)
