"""The laws of accumulators, for every class of headrace.accumulators that can be merged."""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
import pkgutil
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.comparison import assert_same, plain
from tests.conformance.subjects import SUBJECTS, Rows
from tests.strategies import SHAPES, chunkings, columns, merge_trees

import headrace.accumulators
from headrace.accumulators import merge_tree

LAW = ("merge", "result", "state", "from_state")


def accumulators() -> dict[str, type[Any]]:
    """Every class that can be merged, wherever it is defined in the package."""
    names = [item.name for item in pkgutil.iter_modules(headrace.accumulators.__path__)]
    modules = [importlib.import_module(f"headrace.accumulators.{name}") for name in names]
    return {
        name: member
        for module in modules
        for name, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__
        and hasattr(member, "merge")
        and Protocol not in member.__bases__
    }


FOUND = accumulators()
each = pytest.mark.parametrize("name", [name for name in FOUND if name in SUBJECTS])
quick = settings(max_examples=25, deadline=None)


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    x = draw(
        columns(
            300, [shape for shape in SHAPES if shape not in {"huge and tiny", "one outlier", "far from zero"}]
        )
    )
    rng = np.random.default_rng(len(x))
    return Rows(x, rng.integers(0, 2, len(x)), rng.integers(0, 1 << 63, len(x)).astype(np.uint64))


def text(accumulator: Any) -> str:
    return json.dumps(accumulator.state(), allow_nan=False)


def merge(left: Any, right: Any) -> Any:
    return left.merge(right)


def test_every_accumulator_obeys_the_protocol_and_is_in_the_suite():
    assert FOUND.keys() == SUBJECTS.keys()
    lacking = {
        f"{name}.{method}" for name, kind in FOUND.items() for method in LAW if not hasattr(kind, method)
    }
    assert not lacking


@each
@quick
@given(st.data(), rows())
def test_any_split_and_any_merge_tree_give_the_result_of_the_whole(name, data, rows):
    leaves = [SUBJECTS[name](rows[cut]) for cut in data.draw(chunkings(len(rows)))]
    if name == "ColumnSummary":  # its leaves have as many nulls as the length of the chunk says
        assert_same(
            plain(data.draw(merge_trees())(leaves, merge).result()), plain(merge_tree(leaves, merge).result())
        )
        return
    whole = SUBJECTS[name](rows)
    assert_same(plain(data.draw(merge_trees())(leaves, merge).result()), plain(whole.result()))


@each
@quick
@given(rows(), st.integers(0, 300))
def test_json_and_pickle_lose_nothing(name, rows, cut):
    left, right = SUBJECTS[name](rows[:cut]), SUBJECTS[name](rows[cut:])
    kind = type(left)
    again = kind.from_state(json.loads(text(left)))
    assert text(again) == text(left)
    assert text(pickle.loads(pickle.dumps(left))) == text(left)
    assert text(again.merge(kind.from_state(json.loads(text(right))))) == text(left.merge(right))


@each
@quick
@given(rows(), st.integers(0, 300))
def test_merging_changes_neither_operand(name, rows, cut):
    left, right = SUBJECTS[name](rows[:cut]), SUBJECTS[name](rows[cut:])
    before = text(left), text(right)
    merged = left.merge(right)
    merged.merge(left).merge(right).result()
    assert (text(left), text(right)) == before


@each
@quick
@given(rows())
def test_nothing_is_neutral(name, rows):
    full, nothing = SUBJECTS[name](rows), SUBJECTS[name](rows[:0])
    for merged in (full.merge(nothing), nothing.merge(full)):
        assert_same(plain(merged.result()), plain(full.result()))
    plain(nothing.merge(nothing).result())
