"""Preparations of small tables, and the frames that scikit-learn would be given."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from headrace.data.chunks import Chunk, Piece
from headrace.engine.order import row_keys
from headrace.engine.splits import Splitter
from headrace.preparation.crossfit import RowHashes
from headrace.preparation.fitted import Preparation, fit_preparation
from headrace.preparation.needs import finders_of
from headrace.preparation.options import PrepareOptions
from headrace.preparation.parted import found_in
from headrace.profiling.profile import merge_profiles, profile_table
from headrace.profiling.survey import Survey, look

Prepare: TypeAlias = Callable[..., Preparation]


def prepare_table(table: pa.Table, chunks: int = 3, **options: Any) -> Preparation:
    """Profile a table in several chunks and fit a preparation from the merged profile."""
    cuts = np.linspace(0, table.num_rows, chunks + 1).astype(int)
    parts = [profile_table(table.slice(a, b - a)) for a, b in pairwise(cuts.tolist())]
    profile = reduce(merge_profiles, parts)["all"]
    return fit_preparation(profile, PrepareOptions.model_validate(options), features=table.column_names)


SPLITTER = Splitter(seed=1)
"""All rows are trained on."""


def chunk_of(start: int, rows: int) -> Chunk:
    """Name the rows of a file that is not there."""
    piece = Piece("data.parquet", "data.parquet", (0,), rows, start, ())
    return Chunk(start, (piece,), rows, 0, 0)


def hashes_of(table: pa.Table) -> RowHashes:
    return RowHashes(row_keys(chunk_of(0, table.num_rows)), SPLITTER.seed)


def survey_table(
    table: pa.Table, target: str | None = None, task: str = "classification", chunks: int = 3, **options: Any
) -> Preparation:
    """As `prepare_table`, with a target and with what the preparation looks for beside the profile, through JSON."""
    asked = PrepareOptions.model_validate(options)
    features = [name for name in table.column_names if name != target]
    finders = finders_of(asked, table.schema, features=features, target=target, task=task, splitter=SPLITTER)
    cuts = np.linspace(0, table.num_rows, chunks + 1).astype(int)
    surveys = []
    for a, b in pairwise(cuts.tolist()):
        part = table.slice(a, b - a)
        found = look(part, chunk_of(a, b - a), finders)
        surveys.append(Survey(profile_table(part, target=target), found))
    whole = reduce(Survey.merge, surveys)
    kept = {
        finder.name: finder.finding.from_state(json.loads(json.dumps(whole.findings[finder.name].state())))
        for finder in finders
    }
    return fit_preparation(whole.profiles["all"], asked, features=features, found=found_in(kept))


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
def survey() -> Prepare:
    return survey_table


@pytest.fixture(scope="session")
def hashes() -> Callable[[pa.Table], RowHashes]:
    return hashes_of


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
