"""Preparations of small tables, and the frames that scikit-learn would be given."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from headrace.preparation.fitted import Preparation, fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.profiling.profile import merge_profiles, profile_table

Prepare: TypeAlias = Callable[..., Preparation]


def prepare_table(table: pa.Table, chunks: int = 3, **options: Any) -> Preparation:
    """Profile a table in several chunks and fit a preparation from the merged profile."""
    cuts = np.linspace(0, table.num_rows, chunks + 1).astype(int)
    parts = [profile_table(table.slice(a, b - a)) for a, b in pairwise(cuts.tolist())]
    profile = reduce(merge_profiles, parts)["all"]
    return fit_preparation(profile, PrepareOptions.model_validate(options), features=table.column_names)


def frame_of(table: pa.Table) -> pd.DataFrame:
    """What a user of scikit-learn has: numpy columns, strings as objects with NaN."""
    decoded = {
        name: column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    frame: pd.DataFrame = pa.table(decoded).to_pandas()
    for name, column in decoded.items():
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            values = [np.nan if value is None else value for value in column.to_pylist()]
            frame[name] = pd.Series(values, dtype=object)
        elif pa.types.is_date(column.type):
            frame[name] = frame[name].astype("datetime64[us]")
    return frame


@pytest.fixture(scope="session")
def prepare() -> Prepare:
    return prepare_table


@pytest.fixture(scope="session")
def to_frame() -> Callable[[pa.Table], pd.DataFrame]:
    return frame_of


@pytest.fixture
def mixed() -> pa.Table:
    """A column of each kind, with gaps."""
    rng = np.random.default_rng(1)
    n = 900

    def gaps() -> Any:
        return rng.random(n) < 0.1

    words = np.array(["red", "green", "blue", "", "größe", "seldom"], dtype=object)
    return pa.table(
        {
            "real": pa.array(rng.normal(5, 2, n), mask=gaps()),
            "whole": rng.integers(0, 7, n),
            "single": pa.array(rng.normal(0, 1, n).astype(np.float32)),
            "wild": rng.standard_cauchy(n),
            "flag": pa.array(rng.random(n) < 0.7, mask=gaps()),
            "color": pa.array(words[rng.choice(6, n, p=[0.3, 0.3, 0.2, 0.1, 0.095, 0.005])], mask=gaps()),
            "code": pa.array(words[rng.integers(0, 3, n)]).dictionary_encode(),
            "when": pa.array(rng.integers(0, 10**15, n).astype("datetime64[us]"), mask=gaps()),
        }
    )
