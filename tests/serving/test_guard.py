from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.packaging.exports.onnx_file import feed, sort_of
from headrace.packaging.exports.steps import MISSING_STRING
from headrace.packaging.exports.times import MISSING_TIME
from headrace.serving import guard as guards
from headrace.serving.guard import Guard
from headrace.serving.options import GuardOptions
from headrace.serving.predictor import Predictor

if TYPE_CHECKING:
    from headrace.packaging.package import Package
    from headrace.serving.feeds import Feeds
    from headrace.serving.guard import Finding

NUMBERS = st.sampled_from([np.nan, -1e9, 0.0, 3.0, 8.0, 8.1, 9.7, 10.0, 1e9, np.inf])
FLAGS = st.sampled_from([0.0, 1.0, np.nan])
TEXTS = st.sampled_from(["Oslo", "b", "Mu", "", MISSING_STRING])
TIMES = st.sampled_from([MISSING_TIME, 0, 1_370_000_000_000_000, 1_900_000_000_000_000])
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, FLAGS, TEXTS, TIMES), min_size=1, max_size=8)


@given(ROWS, st.sampled_from(["flag", "clip", "reject"]))
@settings(max_examples=80)
def test_the_look_at_all_columns_together_finds_what_the_look_at_each_finds(
    predictor: Predictor, rows: list[Any], policy: Any
):
    kinds: tuple[Any, ...] = (np.float64, np.float64, np.float64, object, np.int64)
    names = ("size", "count", "flag", "city", "at")
    feeds = {
        name: np.array([row[number] for row in rows], kind).reshape(-1, 1)
        for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }
    options = GuardOptions(range=policy, category=policy)
    together = Guard(predictor.signature, predictor.profile, options)
    one_by_one = Guard(predictor.signature, predictor.profile, options)
    fast = together.check(feeds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guards, "TOGETHER", 0)
        plain = one_by_one.check(feeds)
    assert [(each.column, each.check, each.rows.tolist(), each.rejected) for each in fast[1]] == [
        (each.column, each.check, each.rows.tolist(), each.rejected) for each in plain[1]
    ]
    for name in names:
        np.testing.assert_array_equal(fast[0][name], plain[0][name])
    assert together.counts == one_by_one.counts
    assert_same_in_tables(predictor, options, feeds, plain)


def assert_same_in_tables(
    predictor: Predictor, options: GuardOptions, feeds: Feeds, plain: tuple[Feeds, list[Finding]]
) -> None:
    guard = Guard(predictor.signature, predictor.profile, options)
    texts = [None if value == MISSING_STRING else value for value in feeds["city"][:, 0]]
    for encoded in (pa.array(texts, pa.large_string()), pa.array(texts, pa.string()).dictionary_encode()):
        table = pa.table(
            {name: pa.array(feeds[name][:, 0], from_pandas=True) for name in ("size", "count", "flag")}
            | {"city": encoded, "at": pa.array(feeds["at"][:, 0].view("datetime64[us]"))}
        )
        kept, findings = guard.check_table(table)
        assert [(each.column, each.check, each.rows.tolist(), each.rejected) for each in findings] == [
            (each.column, each.check, each.rows.tolist(), each.rejected) for each in plain[1]
        ]
        for column in predictor.signature.inputs:
            tensor = feed(kept.column(column.name), sort_of(column.kind))
            np.testing.assert_array_equal(tensor, plain[0][column.name])


@pytest.fixture(scope="module")
def predictor(packages: dict[str, Package]) -> Predictor:
    return Predictor(packages["onnx"])
