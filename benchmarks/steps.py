"""Nanoseconds of CPU for each step between Parquet and a fitted model, per value and per row.

python benchmarks/steps.py DIRECTORY [--chunk N] [--repeats N] [--json FILE]

DIRECTORY holds the sample data `clicks` (``headrace sample clicks DIRECTORY``) or is any Dataset with a target
``click``. CPU time of one process, best of several: what others do on the machine matters little, and so does the
number of cores. To measure another commit, put its sources first: ``PYTHONPATH=OTHER/src python benchmarks/steps.py``.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from headrace.accumulators.columns import ColumnSummary
from headrace.accumulators.distinct import DistinctCount
from headrace.accumulators.hitters import HeavyHitters
from headrace.accumulators.leaves import Groups, kind_of, summarize
from headrace.accumulators.moments import Moments
from headrace.accumulators.quantiles import QuantileSketch
from headrace.data.dataset import Dataset
from headrace.data.reading import read_chunk
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.profiling.profile import profile_table

TARGET = "click"


def cost(work, units, repeats):
    """CPU nanoseconds for each of `units`, best of `repeats`."""
    times = []
    for _ in range(repeats):
        start = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - start)
    return min(times) / units


def measure(directory, number, repeats):
    """Yield (step, unit, ns)."""
    dataset = Dataset(str(directory))
    chunk = dataset.chunks[number]
    names = dataset.schema.names

    def read():
        return read_chunk(chunk, dataset.schema, names, dictionary=True)

    table = read()
    rows = table.num_rows
    yield f"decode {len(names)} columns", "row", cost(read, rows, repeats)

    numbers = next(
        column for column in table.columns if pa.types.is_float64(column.type) and not column.null_count
    )
    values = numbers.to_numpy()
    ascending = np.sort(values)
    distinct = len(np.unique(values))
    yield "sort", "value", cost(lambda: np.sort(values), rows, repeats)
    yield "moments", "value", cost(lambda: Moments.of(ascending), rows, repeats)
    yield "quantiles", "value", cost(lambda: QuantileSketch.of_sorted(ascending), rows, repeats)
    yield "frequent values", "value", cost(lambda: HeavyHitters.of_sorted(ascending, distinct), rows, repeats)
    yield (
        "distinct",
        "value",
        cost(lambda: DistinctCount.of_numbers(ascending, distinct=distinct), rows, repeats),
    )
    yield (
        "float64 column, all of these",
        "value",
        cost(lambda: summarize(numbers, Groups.single(rows)), rows, repeats),
    )
    few = np.sort(values[:100])
    yield (
        "the same of 100 rows",
        "column",
        cost(lambda: ColumnSummary.of_sorted("numeric", few), 1, 20 * repeats),
    )
    for kind in ("string", "datetime", "numeric"):
        columns = [
            c
            for c in table.columns
            if kind_of(c.type) == kind and (kind != "numeric" or pa.types.is_integer(c.type))
        ]
        if columns:
            label = {"string": "dictionary column", "datetime": "time column", "numeric": "integer column"}[
                kind
            ]
            yield label, "value", cost(lambda c=columns[0]: summarize(c, Groups.single(rows)), rows, repeats)

    yield "profile", "row", cost(lambda: profile_table(table), rows, repeats)
    part = np.random.default_rng(0).choice(3, rows, p=[0.7, 0.1, 0.2]).astype(np.uint8)
    parts = ("train", "validation", "test")

    def by_class():
        return profile_table(table, target=TARGET, part=part, parts=parts)

    yield "profile, 2 classes x 3 parts", "row", cost(by_class, rows, repeats)

    features = [name for name in names if name != TARGET and kind_of(table[name].type) != "datetime"]
    profile = profile_table(table)["all"]
    compiled = CompiledPreparation(fit_preparation(profile, PrepareOptions(), features=features))
    label = f"transform to {'CSR' if compiled.sparse else 'dense'}, {compiled.nnz_per_row} entries"
    yield label, "row", cost(lambda: compiled.transform(table), rows, repeats)
    mixed = table.take(pa.array(np.random.default_rng(0).permutation(rows)))
    yield f"{label}, rows mixed", "row", cost(lambda: compiled.transform(mixed), rows, repeats)
    few_rows = table.slice(0, 1000)
    yield f"{label}, 1000 rows", "row", cost(lambda: compiled.transform(few_rows), 1000, 5 * repeats)

    from sklearn.linear_model import SGDClassifier

    matrix, target = compiled.transform(table), table[TARGET].to_numpy()
    model = SGDClassifier(loss="log_loss", random_state=0)
    fit = lambda: model.partial_fit(matrix, target, classes=np.array([0, 1]))  # noqa: E731 - short, and timed below
    yield "fit, logistic SGD", "row", cost(fit, rows, min(repeats, 3))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--chunk", type=int, default=0, help="which chunk of the dataset is measured")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    found = []
    for step, unit, nanoseconds in measure(options.directory, options.chunk, options.repeats):
        found.append({"step": step, "unit": unit, "ns": round(nanoseconds, 2)})
        print(f"{step:44} {nanoseconds:10.1f} ns a {unit}", flush=True)
    if options.json:
        versions = {"python": platform.python_version(), "numpy": np.__version__, "pyarrow": pa.__version__}
        options.json.write_text(json.dumps({"versions": versions, "steps": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
