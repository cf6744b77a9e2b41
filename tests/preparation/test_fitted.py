"""A preparation as a document, as a scikit-learn transformer, and on every sort of frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import skops.io

from headrace.errors import DataError
from headrace.preparation.fitted import Preparation, build_transformer

if TYPE_CHECKING:
    from collections.abc import Iterator

TRUSTED = ["numpy.dtype"]  # SimpleImputer holds the dtype it was fitted on
OURS = "headrace.preparation.datetimes.DatetimeParts"


def dense(matrix: Any) -> Any:
    return matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)


def test_json_round_trip_loses_nothing(prepare, mixed):
    p = prepare(mixed, columns={"color": {"encode": "ordinal"}, "whole": "drop"})
    again = Preparation.from_json(p.to_json())
    assert again == p
    assert again.digest == p.digest
    assert again.names_out == p.names_out


def test_another_schema_version_is_refused():
    with pytest.raises(DataError, match="schema version 1"):
        Preparation.from_dict({"schema_version": 2})


def test_names_are_those_of_the_transformer(prepare, mixed):
    p = prepare(mixed)
    assert tuple(build_transformer(p).get_feature_names_out()) == p.names_out
    assert "missingindicator_real" in p.names_out


def test_equal_names_are_told_apart_by_their_step(prepare):
    table = pa.table({"a": ["x", "y"] * 20, "a_x": np.arange(40.0)})
    p = prepare(table)
    assert p.names_out == ("numbers__a_x", "one_hot__a_x", "one_hot__a_y")
    assert tuple(build_transformer(p).get_feature_names_out()) == p.names_out


@pytest.mark.parametrize("times", [False, True])
def test_skops_needs_to_trust_nothing_but_dtypes_and_our_one_class(prepare, mixed, to_frame, times):
    table = mixed if times else mixed.drop_columns(["when"])
    transformer = build_transformer(prepare(table))
    written = skops.io.dumps(transformer)
    assert skops.io.get_untrusted_types(data=written) == sorted([OURS, *TRUSTED] if times else TRUSTED)
    loaded = skops.io.loads(written, trusted=[OURS, *TRUSTED])
    frame = to_frame(table)
    np.testing.assert_array_equal(dense(loaded.transform(frame)), dense(transformer.transform(frame)))


def test_dense_output_on_request_for_estimators_that_take_no_sparse_matrix(prepare, mixed, to_frame):
    p = prepare(mixed)
    frame = to_frame(mixed)
    sparse = build_transformer(p).transform(frame)
    assert p.layout.sparse
    assert scipy.sparse.issparse(sparse)
    np.testing.assert_array_equal(build_transformer(p, dense=True).transform(frame), sparse.toarray())


def frames(table: pa.Table, plain: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    arrow = table.set_column(
        table.column_names.index("code"), "code", table["code"].cast(pa.string())
    ).to_pandas(types_mapper=pd.ArrowDtype)
    text = ["color", "code"]
    nullable = plain.convert_dtypes()
    whole = arrow[text].isna().any(axis=1)
    yield "nulls as None", plain.assign(**{n: plain[n].where(plain[n].notna(), None) for n in text})
    yield "str", plain.astype(dict.fromkeys(text, "str"))
    yield "category", plain.astype(dict.fromkeys(text, "category"))
    yield "nullable", nullable.assign(**{n: plain[n] for n in text})
    yield "arrow", arrow.assign(**{n: plain[n] for n in text})
    yield "other order and more columns", plain[plain.columns[::-1]].assign(more=1)
    yield "arrow strings", arrow[~whole]
    yield "objects", plain.assign(real=plain["real"].astype(object).where(plain["real"].notna(), None))
    yield "nanoseconds", plain.assign(when=plain["when"].astype("datetime64[ns]"))
    yield "zoned", plain.assign(when=plain["when"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))


@pytest.mark.parametrize("number", range(10))
def test_every_sort_of_frame_gives_the_same(prepare, mixed, to_frame, number):
    plain = to_frame(mixed)
    name, frame = list(frames(mixed, plain))[number]
    transformer = build_transformer(prepare(mixed))
    wanted = dense(transformer.transform(plain.loc[frame.index]))
    np.testing.assert_allclose(
        dense(transformer.transform(frame)), wanted, rtol=1e-6, atol=1e-6, err_msg=name
    )


def test_frames_of_booleans_or_of_floats32_alone(prepare):
    p = prepare(pa.table({"a": [True, False, None, True], "b": [False, True, True, None]}))
    frame = pd.DataFrame({"a": [True, False], "b": [False, False]})
    assert build_transformer(p).transform(frame).tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    q = prepare(pa.table({"a": pa.array([1.0, 2.0, 3.0], pa.float32())}))
    out = build_transformer(q).transform(pd.DataFrame({"a": np.array([2, 3], np.float32)}))
    np.testing.assert_allclose(out[:, 0], [0, 1.2247449], atol=1e-6)


def test_what_is_done_is_told_in_words(prepare, mixed):
    rows = {row["column"]: row for row in prepare(mixed, columns={"whole": "drop"}).describe()}
    assert rows["real"]["steps"] == "fill (mean), indicator, scale (standard)"
    assert rows["color"]["steps"] == "fill (category), one-hot"
    assert rows["whole"] == {"column": "whole", "kind": "numeric", "steps": "dropped", "parameters": "as the workflow says"}  # fmt: skip


def test_nothing_left_says_why(prepare):
    with pytest.raises(DataError, match=r"no column is left to learn from \(x: has one value only"):
        prepare(pa.table({"x": [1, 1]}))
