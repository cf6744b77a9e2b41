from __future__ import annotations

import datetime as dt
import json
from datetime import timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.history import History, Rolling
from headrace.packaging.signature import InputColumn, Signature, finite

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.datetimes(), st.dates()
)


@settings(max_examples=50, deadline=None)
@given(
    name=st.text(min_size=1),
    minimum=scalars,
    maximum=scalars,
    categories=st.none() | st.lists(scalars, max_size=120),
    classes=st.lists(st.one_of(st.booleans(), st.integers(), st.text()), max_size=5),
)
def test_json_round_trip_loses_nothing(name, minimum, maximum, categories, classes):
    signature = Signature(
        inputs=(
            InputColumn(
                name,
                "double",
                "numeric",
                nullable=False,
                minimum=minimum,
                maximum=maximum,
                categories=None if categories is None else tuple(categories),
            ),
        ),
        task="classification",
        target="late",
        classes=tuple(classes),
        features_function="my_features:add",
        raw_inputs=(InputColumn("raw", "int64", "numeric"),),
        history=History("when", (Rolling(kind="rolling", column="raw", window=timedelta(hours=6)),)),
    )
    text = json.dumps(signature.to_dict(), allow_nan=False)
    assert Signature.from_dict(json.loads(text)) == signature


def test_numpy_scalars_times_and_long_lists_are_made_plain():
    column = InputColumn(
        "when",
        "timestamp[us]",
        "datetime",
        minimum=np.datetime64("2013-01-01"),  # type: ignore[arg-type] # what Arrow gives
        maximum=dt.datetime(2013, 12, 31),  # type: ignore[arg-type] # noqa: DTZ001 - data without a zone
        categories=tuple(range(500)),
    )
    assert (column.minimum, column.maximum) == ("2013-01-01", "2013-12-31T00:00:00")
    assert column.categories == tuple(range(100))
    assert Signature((), "classification", classes=(np.int64(0), np.bool_(True))).classes == (0, True)  # type: ignore[arg-type] # what numpy gives


def test_finite_makes_any_document_json():
    document = {"a": np.array([1.0, np.nan]), 3: (np.float32(0.5), dt.date(2013, 1, 1))}
    assert finite(document) == {"a": [1.0, None], "3": [0.5, "2013-01-01"]}
