"""Profile: any split gives the same, JSON loses nothing, classes and parts are told apart."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.comparison import assert_same, plain
from tests.strategies import chunkings, merge_trees, tables

from headrace.accumulators.gram import MATRICES
from headrace.errors import DataError
from headrace.profiling.classes import MOST_CLASSES
from headrace.profiling.profile import Profile, compact, merge_profiles, profile_table

TAME = ("normal", "constant", "ties", "drifting", "mostly zero")
quick = settings(max_examples=25, deadline=None)
PARTS = ("train", "validation", "test")


def readable(profile: Profile):
    """What a reader sees, without the states, whose sketches may differ between splits."""
    document = profile.to_dict()
    for column in document["columns"].values():
        column["by_class"] = sorted(column["by_class"])
    if profile.gram is not None:
        document["gram"] = {name: getattr(profile.gram, name) for name in MATRICES}
    return plain(document)


@settings(max_examples=12, deadline=None)
@given(
    tables(60, TAME),
    st.data(),
    st.sampled_from([None, "y", "word", "flag", "real", "code", "day"]),
    st.booleans(),
)
def test_any_split_and_merge_tree_gives_the_profile_of_the_whole(table, data, target, gram):
    part = np.random.default_rng(table.num_rows).integers(0, 3, table.num_rows).astype(np.uint8)
    leaves = [
        profile_table(
            table.slice(cut.start, cut.stop - cut.start),
            target=target,
            part=part[cut],
            parts=PARTS,
            gram=gram,
        )
        for cut in data.draw(chunkings(table.num_rows))
    ]
    merged = data.draw(merge_trees())(leaves, merge_profiles)
    whole = profile_table(table, target=target, part=part, parts=PARTS, gram=gram)
    for code, name in enumerate(PARTS):
        assert merged[name].rows == (part == code).sum()
        assert_same(readable(merged[name]), readable(whole[name]))
        alone = profile_table(table.filter(pa.array(part == code)), target=target, gram=gram)["all"]
        if alone.classes_overflow == whole[name].classes_overflow:
            assert_same(readable(alone), readable(whole[name]))


@quick
@given(tables(), st.sampled_from([None, "y", "real"]), st.booleans())
def test_json_and_pickle_lose_nothing(table, target, gram):
    profile = profile_table(table, target=target, gram=gram)["all"]
    text = profile.to_json()
    json.loads(text, parse_constant=pytest.fail)
    again = Profile.from_json(text)
    assert again.to_json() == text
    assert again.merge(profile).to_json() == profile.merge(profile).to_json()
    assert pickle.loads(pickle.dumps(profile)).to_json() == text
    assert Profile.from_json(compact(profile).to_json()).rows == table.num_rows


def test_classes_are_counted_and_summarised_apart_and_null_targets_too():
    table = pa.table({"x": [1.0, 2.0, 3.0, None], "late": pa.array([True, False, True, None])})
    profile = profile_table(table, target="late")["all"]
    assert profile.classes == {"False": 1, "True": 2}
    by_class = profile.columns["x"].by_class
    assert list(by_class) == ["False", "True", "null"]
    assert by_class["True"].result()["mean"] == 2.0
    assert by_class["null"].nulls == 1
    assert profile.columns["x"].overall.rows == 4


def test_a_chunk_without_a_class_or_part_merges_into_one_with_it():
    first = profile_table(
        pa.table({"y": ["a", "a"]}), target="y", part=np.array([0, 0], np.uint8), parts=PARTS
    )
    second = profile_table(
        pa.table({"y": ["b", "a"]}), target="y", part=np.array([0, 2], np.uint8), parts=PARTS
    )
    merged = merge_profiles(first, second)
    assert [merged[name].rows for name in PARTS] == [3, 0, 1]
    assert merged["train"].classes == {"a": 2, "b": 1}
    assert merged["validation"].columns["y"].overall.rows == 0


def test_too_many_classes_collapse_by_any_split():
    labels = np.arange(3 * MOST_CLASSES) % (MOST_CLASSES + 1)
    table = pa.table({"x": labels * 1.0, "y": labels})
    chunks = [table.slice(start, 10) for start in range(0, table.num_rows, 10)]
    parts = [profile_table(chunk, target="y")["all"] for chunk in chunks]
    assert not parts[0].classes_overflow
    merged = parts[0]
    for other in parts[1:]:
        merged = merged.merge(other)
    whole = profile_table(table, target="y")["all"]
    assert merged.classes_overflow
    assert whole.classes_overflow
    assert merged.classes == whole.classes == {}
    assert list(merged.columns["x"].by_class) == list(whole.columns["x"].by_class) == [""]
    assert_same(readable(merged), readable(whole))
    assert not profile_table(table.slice(0, MOST_CLASSES), target="y")["all"].classes_overflow


def test_labels_are_too_many_over_all_parts_by_any_split():
    labels = np.arange(2 * MOST_CLASSES)
    table, part = pa.table({"y": labels}), (labels >= MOST_CLASSES - 1).astype(np.uint8)
    whole = profile_table(table, target="y", part=part, parts=("train", "test"))
    halves = [
        profile_table(
            table.slice(start, 32), target="y", part=part[start : start + 32], parts=("train", "test")
        )
        for start in (0, 32)
    ]
    for name, profile in merge_profiles(*halves).items():
        assert not halves[0][name].classes_overflow
        assert profile.classes_overflow
        assert_same(readable(profile), readable(whole[name]))


def test_an_empty_string_is_a_label_like_others():
    table = pa.table({"y": ["", "a"]})
    profile = profile_table(table, target="y", part=np.array([0, 1], np.uint8), parts=("train", "test"))
    assert profile["train"].classes == {"": 1}
    assert list(profile["test"].columns["y"].by_class) == ["a"]


def test_a_real_valued_target_is_not_told_apart_by_class():
    profile = profile_table(pa.table({"y": [0.5, 1.5]}), target="y")["all"]
    assert profile.classes_overflow
    assert profile.classes == {}
    assert list(profile.columns["y"].by_class) == [""]


def test_gram_of_a_part_is_the_covariance_of_its_rows():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=500), "b": rng.integers(0, 9, 500), "c": rng.normal(size=500)})
    frame.loc[::7, "c"] = np.nan
    part = rng.integers(0, 2, 500).astype(np.uint8)
    table = pa.table({**{name: frame[name].to_numpy() for name in frame}, "word": ["w"] * 500})
    found = profile_table(table, part=part, parts=("train", "test"), gram=True)
    for code, name in enumerate(("train", "test")):
        gram = found[name].gram
        assert gram is not None
        assert gram.names == ("a", "b", "c")
        np.testing.assert_allclose(gram.covariance(), frame[part == code].cov(), rtol=1e-9)


def test_text_constant_and_key_columns_are_recognised():
    n = 1500
    table = pa.table(
        {
            "prose": ["a sentence that goes on and on, well beyond forty characters"] * n,
            "key": [f"k{i}" for i in range(n)],
            "category": ["a", "b", "c"] * (n // 3),
            "same": [1.5] * n,
            "void": pa.nulls(n, pa.float64()),
            "id": np.arange(n),
        }
    )
    columns = profile_table(table)["all"].columns
    assert [name for name, column in columns.items() if column.is_text] == ["prose", "key"]
    assert [name for name, column in columns.items() if column.is_constant] == ["prose", "same", "void"]
    assert columns["id"].unique_share == 1.0
    assert columns["category"].unique_share == pytest.approx(3 / n)
    assert columns["category"].top(2) == [("a", 500), ("b", 500)]
    assert columns["id"].quantile(0.5) == 749.5
    np.testing.assert_array_equal(columns["id"].quantile([0, 1]), [0, n - 1])
    assert np.isnan(columns["category"].quantile(0.5))


def test_values_are_shown_in_the_words_of_their_type():
    table = pa.table(
        {
            "day": pa.array([19724], pa.date32()),
            "time": pa.array([1_704_189_600_000_000], pa.timestamp("us", "UTC")),
            "flag": [True],
            "real": [0.123456789],
        }
    )
    columns = profile_table(table)["all"].columns
    assert columns["day"].shown(19724) == "2024-01-02"
    assert columns["time"].shown(1_704_189_600_000_000) == "2024-01-02 10:00:00.000000"
    assert columns["real"].shown(0.123456789) == "0.123457"
    assert columns["flag"].top() == [(True, 1)]


def test_html_escapes_names_and_values():
    table = pa.table({"<b>&\"'": ["<script>alert(1)</script>"], "nested": [[1]], "x": [np.inf]})
    page = profile_table(table)["all"]._repr_html_()
    assert "<script>" not in page
    assert "&lt;b&gt;&amp;&quot;" in page
    assert profile_table(table.slice(0, 0))["all"]._repr_html_()


def test_mistakes_are_named():
    table = pa.table({"a": [1], "b": [2]})
    with pytest.raises(DataError, match="target 'late': is not in the data"):
        profile_table(table, target="late")
    with pytest.raises(DataError, match="column 'a': occurs more than once"):
        profile_table(pa.Table.from_arrays([table["a"], table["b"]], names=["a", "a"]))
    with pytest.raises(DataError, match="cannot be merged: b"):
        profile_table(table)["all"].merge(profile_table(table.select(["a"]))["all"])
    with pytest.raises(DataError, match="column 'a': is int64 in one chunk and string"):
        profile_table(table)["all"].merge(profile_table(pa.table({"a": ["x"], "b": [2]}))["all"])
    with pytest.raises(DataError, match="schema version"):
        Profile.from_dict({"rows": 1})


def test_a_stored_profile_of_many_columns_is_small():
    rng = np.random.default_rng(0)
    n = 30_000
    columns = {f"n{i}": rng.normal(size=n) for i in range(15)} | {
        f"s{i}": [f"w{k}" for k in rng.integers(0, 300, n)] for i in range(5)
    }
    table = pa.table({**columns, "y": rng.integers(0, 2, n)})
    found = profile_table(table, target="y", part=rng.integers(0, 3, n).astype(np.uint8), parts=PARTS)
    assert sum(len(compact(profile).to_json()) for profile in found.values()) < 3_000_000
