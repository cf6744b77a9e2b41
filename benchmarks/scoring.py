"""Batch scoring of a dataset: headrace score, and decoding and predicting alone, on the same rows.

    python benchmarks/scoring.py PACKAGE DATA [--workers 2] [--repeats 3]

The bare programs decode the files and predict, with ONNX Runtime where the package holds a file and with its pipeline;
they check nothing, write nothing and keep the scores in memory. Each runs in processes of its own, as many as headrace
has workers, started before the clock is. What matters is the ratios of the fastest run of each; goal: 0.8 of the
speed. The scores are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

BARE = """
import json, sys, time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
import numpy as np, pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq
from headrace.packaging.exports.onnx_file import OnnxModel, feed, sort_of
from headrace.packaging.package import read_package

KINDS = {"numeric": pa.float64(), "boolean": pa.float64(), "string": pa.string(), "datetime": pa.timestamp("us")}

def predicting(package, how):
    signature = package.manifest.signature
    if how == "onnx":
        model = OnnxModel(package.contents["model.onnx"], signature)
        return lambda table: model.run({c.name: feed(table[c.name], sort_of(c.kind)) for c in signature.inputs})
    pipeline = package.model()
    texts = [c.name for c in signature.inputs if c.kind == "string"]
    def predict(table):
        frame = table.to_pandas()
        for name in texts:
            frame[name] = frame[name].astype(object).where(frame[name].notna(), np.nan)
        return getattr(pipeline, "predict_proba", pipeline.predict)(frame)
    return predict

def score(url, how, file):
    global PREDICT
    package = read_package(url)
    if "PREDICT" not in globals():
        PREDICT = predicting(package, how)
    inputs = package.manifest.signature.inputs
    said = []
    for batch in pq.ParquetFile(file).iter_batches(250_000, columns=[c.name for c in inputs]):
        table = pa.table({c.name: pc.cast(batch.column(c.name), KINDS[c.kind], safe=False) for c in inputs})
        said.append(PREDICT(table))
    return np.concatenate(said)

if __name__ == "__main__":
    url, how, workers, out, *files = sys.argv[1:]
    with ProcessPoolExecutor(int(workers)) as pool:
        list(pool.map(abs, range(int(workers))))
        start = time.perf_counter()
        said = np.concatenate(list(pool.map(partial(score, url, how), files)))
        seconds = time.perf_counter() - start
    np.save(out, said)
    print(json.dumps({"rows": len(said), "seconds": seconds}))
"""
OURS = """
import json, sys, time
from headrace.cluster.config import ClusterFile
from headrace.engine.events import PassEnded
from headrace.scoring import score
if __name__ == "__main__":
    url, data, workers, out, profiled = sys.argv[1:]
    passes = []
    def hear(event):
        if isinstance(event, PassEnded):
            passes.append(event.seconds)
    start = time.perf_counter()
    cluster = ClusterFile(workers=int(workers), memory=2 << 30)
    done = score(url, data, out, profiled=profiled == "profiled", cluster=cluster, subscribers=[hear])
    seconds = time.perf_counter() - start
    rows = done["rows"]
    print(json.dumps({"rows": rows["scored"], "rejected": rows["rejected"], "seconds": sum(passes), "with start of workers": seconds}))
"""


def run(text: str, *arguments: str) -> dict[str, Any]:
    """Run a program in a process of its own, one thread in BLAS."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as place:
        program = Path(place, "program.py")
        program.write_text(text)
        done = subprocess.run(
            [sys.executable, str(program), *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def scores_of(folder: Path) -> np.ndarray[Any, Any]:
    """What headrace has written, in the order of the data."""
    tables = [pq.ParquetFile(file).read() for file in sorted(folder.glob("part-*.parquet"))]
    names = [name for name in tables[0].column_names if name.startswith("probability_")] or ["prediction"]
    return np.concatenate([np.column_stack([table[name] for name in names]) for table in tables])


def main() -> None:
    from headrace.data.dataset import Dataset
    from headrace.packaging.package import read_package

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package")
    parser.add_argument("data")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    package = read_package(options.package)
    workers = str(options.workers)
    files = [str(Path(options.data, file.key)) for file in Dataset(options.data).files]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for repeat in range(options.repeats):
            for how in ["onnx"] * ("model.onnx" in package.contents) + ["pipeline"]:
                done = run(BARE, options.package, how, workers, f"{place}/{how}.npy", *files)
                results[how] = min(results.get(how, done), done, key=lambda held: held["seconds"])
            for profiled in ("profiled", "scores alone"):
                folder = f"{place}/{profiled} {repeat}"
                done = run(OURS, options.package, options.data, workers, folder, profiled)
                name = f"headrace, {profiled}"
                results[name] = min(results.get(name, done), done, key=lambda held: held["seconds"])
        said = scores_of(Path(folder))
        for how in ("onnx", "pipeline"):
            if how in results and not done["rejected"]:
                bare = np.load(f"{place}/{how}.npy").reshape(said.shape)
                results[how]["largest_difference"] = float(np.abs(bare - said).max())
    best = min(results.keys() & {"onnx", "pipeline"}, key=lambda how: results[how]["seconds"])
    for profiled in ("profiled", "scores alone"):
        results[f"speed, headrace, {profiled}, over {best}"] = round(
            results[best]["seconds"] / results[f"headrace, {profiled}"]["seconds"], 2
        )
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
