"""Categories, held against scikit-learn's encoders fitted in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from headrace.preparation.fitted import build_transformer

WORDS = ["a", "B", "b", "", "ü", "zz", "missing", "long " * 20]


@st.composite
def word_columns(draw: st.DrawFn) -> list[str | None]:
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    n = draw(st.integers(6, 150))
    share = rng.dirichlet(np.ones(len(WORDS)) * 0.7)
    words: list[str | None] = [WORDS[i] for i in rng.choice(len(WORDS), n, p=share)]
    if draw(st.booleans()):
        words = [None if rng.random() < 0.3 else word for word in words]
    words[:6] = ["a", "b", "a", "b", "a", "b"]
    return words


@pytest.mark.parametrize("encode", ["one_hot", "ordinal"])
@pytest.mark.parametrize("missing", ["category", "most_frequent"])
@settings(max_examples=40, deadline=None)
@given(
    words=word_columns(),
    max_categories=st.sampled_from([None, 2, 3, 5, 300]),
    min_frequency=st.sampled_from([None, 1, 3, 0.1, 0.25]),
)
def test_equals_scikit_learn_fitted_in_memory(prepare, encode, missing, words, max_categories, min_frequency):
    options = {
        "encode": encode, "missing": missing, "max_categories": max_categories, "min_frequency": min_frequency,
    }  # fmt: skip
    x = np.array([[np.nan if word is None else word] for word in words], dtype=object)
    limits = {"max_categories": max_categories, "min_frequency": min_frequency}
    encoder = (
        OneHotEncoder(handle_unknown="infrequent_if_exist", sparse_output=False, **limits)
        if encode == "one_hot"
        else OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, **limits)
    )
    how = (
        {"strategy": "constant", "fill_value": "missing"} if missing == "category" else {"strategy": missing}
    )
    theirs = make_pipeline(SimpleImputer(**how), encoder).fit(x)
    frequent = [
        name for name in theirs[-1].categories_[0] if name not in (theirs[-1].infrequent_categories_[0] if theirs[-1].infrequent_categories_[0] is not None else [])
    ] if max_categories or min_frequency else list(theirs[-1].categories_[0])  # fmt: skip
    extra = {"constant": [0.0, 1.0] * (len(words) // 2) + [0.0] * (len(words) % 2)}
    table = pa.table({"w": pa.array(words, pa.string()), **extra})
    p = prepare(table, categorical=options, numeric={"scale": "none"})
    if not frequent:
        assert [item.name for item in p.dropped] == ["w"]
        return
    new = np.array([*x[:, 0], "never seen", np.nan], dtype=object)
    frame = pd.DataFrame({"w": pd.Series(new, dtype=object), "constant": 0.0})
    got = build_transformer(p, dense=True).transform(frame)
    wanted = theirs.transform(new[:, None])
    at = p.names_out.index("constant")
    np.testing.assert_array_equal(np.delete(got, at, axis=1), wanted)


def test_numbers_that_are_codes_become_categories(prepare, to_frame):
    table = pa.table({"store": pa.array([7, 7, 7, 3, 3, 9, None, None], pa.int64())})
    p = prepare(table, columns={"store": {"encode": "one_hot", "min_frequency": 2}})
    assert p.names_out == ("store_3.0", "store_7.0", "store_nan", "store_infrequent_sklearn")
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2, sparse_output=False)
    frame = to_frame(table)
    wanted = encoder.fit(frame).transform(frame)
    np.testing.assert_array_equal(build_transformer(p).transform(frame), wanted)


def test_many_distinct_strings_are_dropped_with_a_note_unless_asked_for(prepare):
    table = pa.table({"id": [f"k{i % 1500}" for i in range(6000)], "x": np.arange(6000.0)})
    p = prepare(table)
    assert p.features_in == ("x",)
    assert "id: dropped, has about 1,500 distinct values" in p.notes[0]
    asked = prepare(table, columns={"id": {"encode": "one_hot", "min_frequency": 1, "max_categories": 40}})
    assert sum(name.startswith("id_") for name in asked.names_out) == 40


def test_beyond_exact_counts_there_is_a_bucket_for_what_is_not_held(prepare):
    words = [f"k{i}" for i in range(12_000)] + ["often"] * 6_000 + ["also"] * 6_000
    p = prepare(pa.table({"w": words}), columns={"w": {"encode": "one_hot", "min_frequency": 500}})
    assert p.names_out == ("w_also", "w_often", "w_infrequent_sklearn")
    out = build_transformer(p).transform(pd.DataFrame({"w": ["often", "k77", "new"]}))
    assert np.asarray(out).tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1]]
