"""Hypothesis strategies: chunkings, merge trees, drifting and hostile columns."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

T = TypeVar("T")


@st.composite
def chunkings(draw: st.DrawFn, length: int, most: int = 8) -> list[slice]:
    """Cut `length` rows into up to `most` runs, some of which may be empty."""
    cuts = sorted(draw(st.lists(st.integers(0, length), max_size=most - 1)))
    bounds = [0, *cuts, length]
    return [slice(a, b) for a, b in itertools.pairwise(bounds)]


@st.composite
def merge_trees(draw: st.DrawFn) -> Callable[[Sequence[T], Callable[[T, T], T]], T]:
    """Draw a function that merges neighbours in an arbitrary tree: left folds, right folds and all between."""
    picks = draw(st.lists(st.integers(0, 1 << 16), min_size=1, max_size=16))

    def fold(items: Sequence[T], merge: Callable[[T, T], T]) -> T:
        level = list(items)
        step = 0
        while len(level) > 1:
            at = picks[step % len(picks)] % (len(level) - 1)
            level[at : at + 2] = [merge(level[at], level[at + 1])]
            step += 1
        return level[0]

    return fold


def _shape(name: str, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    shapes: dict[str, Callable[[], NDArray[Any]]] = {
        "normal": lambda: rng.normal(size=n),
        "constant": lambda: np.full(n, 3.25),
        "ties": lambda: rng.integers(0, 4, n),
        "ascending": lambda: np.sort(rng.normal(size=n)),
        "descending": lambda: np.sort(rng.normal(size=n))[::-1],
        "drifting": lambda: rng.normal(size=n) + np.linspace(0, 50, n),
        "huge and tiny": lambda: rng.choice([-1.0, 1.0], n) * 10.0 ** rng.uniform(-300, 300, n),
        "far from zero": lambda: rng.normal(size=n) + 1e9,
        "one outlier": lambda: np.where(np.arange(n) == n // 2, 1e12, rng.normal(size=n)),
        "mostly zero": lambda: np.where(rng.random(n) < 0.95, 0.0, rng.normal(size=n)),
    }
    return shapes[name]().astype(np.float64)


SHAPES = (
    "normal",
    "constant",
    "ties",
    "ascending",
    "descending",
    "drifting",
    "huge and tiny",
    "far from zero",
    "one outlier",
    "mostly zero",
)


@st.composite
def columns(draw: st.DrawFn, most: int = 3000, shapes: Sequence[str] = SHAPES) -> NDArray[np.float64]:
    """Finite numbers of the shapes that break estimators."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    return _shape(draw(st.sampled_from(list(shapes))), rng, draw(st.integers(0, most)))


@st.composite
def holed_columns(draw: st.DrawFn, most: int = 400, shapes: Sequence[str] = SHAPES) -> NDArray[np.float64]:
    """As `columns`, with NaN and infinities."""
    values = draw(columns(most, shapes))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    for hole in draw(st.lists(st.sampled_from([np.nan, np.inf, -np.inf]), max_size=3)):
        values[rng.random(len(values)) < 0.2] = hole
    return values


@st.composite
def tables(draw: st.DrawFn, most: int = 100, shapes: Sequence[str] = SHAPES) -> pa.Table:
    """Tables with a column of each kind, nulls anywhere, and a 0/1 column ``y``."""
    n = draw(st.integers(0, most))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    share = draw(st.sampled_from([0.0, 0.2, 1.0]))

    def gaps() -> NDArray[np.bool_]:
        return rng.random(n) < share

    words = np.array(["a", "b", "ß", "", "a longer word", "x" * 300], dtype=object)
    holed = draw(holed_columns(most, shapes))
    return pa.table(
        {
            "real": pa.array(np.resize(holed, n) if len(holed) else np.zeros(n), mask=gaps()),
            "single": pa.array(rng.normal(size=n).astype(np.float32), mask=gaps()),
            "whole": pa.array(rng.integers(-5, 5, n), mask=gaps()),
            "flag": pa.array(rng.random(n) < 0.5, mask=gaps()),
            "word": pa.array(words[rng.integers(0, len(words), n)], pa.string(), mask=gaps()),
            "code": pa.array(words[rng.integers(0, 4, n)], pa.string(), mask=gaps()).dictionary_encode(),
            "day": pa.array(rng.integers(0, 20_000, n).astype("datetime64[D]"), mask=gaps()),
            "time": pa.array(rng.integers(0, 10**15, n).astype("datetime64[us]"), mask=gaps()),
            "nested": pa.array([[1]] * n, pa.list_(pa.int64()), mask=gaps()),
            "y": pa.array(rng.integers(0, 2, n)),
        }
    )
