"""Rows of which one column is changed, with its features exchanged, are those that are prepared anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingRegressor

from headrace.evaluation.asked import own_features
from headrace.evaluation.dependence import points_of
from headrace.evaluation.exchanges import Exchange
from headrace.preparation.layout import Layout
from headrace.preparation.recipes import RecipePlan

PLAIN: dict[str, Any] = {"numeric": {"impute": "none"}, "categorical": {"encode": "ordinal"}}


def dense(X: Any) -> Any:
    return X.toarray() if sparse.issparse(X) else X


@pytest.mark.parametrize("options", [{}, PLAIN])
def test_shuffled_and_fixed_columns_are_as_if_prepared_anew(small, options):
    model = HistGradientBoostingRegressor(max_iter=2) if options else None  # takes missing values
    asked = small("amount", model, **options).asked
    slow = replace(asked, own={})
    X = asked.features(asked.table)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(asked.rows) for _ in range(2)]
    for name in asked.compiled.features_in:
        assert name in asked.own
        for fast, plain in zip(
            asked.shuffled(X, [name], orders), slow.shuffled(X, [name], orders), strict=True
        ):
            np.testing.assert_array_equal(dense(fast), dense(plain))
        column = asked.table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        points = points_of(column.combine_chunks())
        assert points is not None
        for fast, plain in zip(asked.fixed(X, name, points), slow.fixed(X, name, points), strict=True):
            np.testing.assert_array_equal(dense(fast), dense(plain))


def test_columns_that_have_a_part_in_features_of_others_are_prepared_anew(small):
    columns = small("amount").preparation.columns
    joint = RecipePlan("product", "numeric", ("x", "z"), (), ("x * z",), 1)
    one = RecipePlan("curve", "numeric", ("noise",), (), ("noise_1",), 1)
    layout = Layout.of([*columns, joint, one])
    own = own_features(layout)
    assert not {"x", "z"} & own.keys()
    assert layout.width - 1 in own["noise"]


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_features_are_taken_from_other_rows_and_missing_ones_too(kind):
    X = np.array([[1.0, 2.0, 0.0], [0.0, np.nan, 3.0], [4.0, 0.0, np.nan]])
    source = np.array([[7.0, 8.0, np.nan], [0.0, 9.0, 6.0]])
    found = dense(Exchange.of(kind(X), [2, 1]).taking(kind(source), np.array([0, 1, 1])))
    wanted = np.column_stack([X[:, 0], source[[0, 1, 1], 1], source[[0, 1, 1], 2]])
    np.testing.assert_array_equal(found, wanted)
