"""How long one row takes: a predictor timed alone, before anyone waits for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import PackageError
from headrace.serving.examples import example_row
from headrace.serving.feeds import feeds_of_rows
from headrace.serving.predictor import Predictor

if TYPE_CHECKING:
    from headrace.packaging.package import Package

CALLS = 200
LEAST_CALLS = 5
SECONDS = 2.0
"""After these no more calls are made: a row of ten thousand columns takes a quarter of one."""


def measure_latency(package: Package) -> dict[str, Any]:
    """Time the answer for one row, of a loaded and warm model.

    Returns
    -------
    dict
        ``runtime``, ``calls``, ``p50`` and ``p99`` in seconds.

    Raises
    ------
    PackageError
        When the model cannot be served, or fails on a row like those of its training.
    """
    predictor = Predictor(package)
    inputs = predictor.signature.inputs
    feeds = feeds_of_rows([example_row(predictor.signature)], inputs)
    try:
        predictor.answer(feeds)
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise PackageError(
            f"cannot answer for a row like those of its training: {first}", where=package.url
        ) from error
    times: list[float] = []
    while len(times) < LEAST_CALLS or (len(times) < CALLS and sum(times) < SECONDS):
        started = time.perf_counter()
        predictor.answer(feeds)
        times.append(time.perf_counter() - started)
    p50, p99 = np.quantile(times, (0.5, 0.99))
    return {"runtime": predictor.runtime, "calls": len(times), "p50": float(p50), "p99": float(p99)}
