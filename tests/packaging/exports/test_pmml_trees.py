"""Conditions of float32 hold for the same float64 when they are written as borders."""

from __future__ import annotations

import operator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.packaging.exports.pmml_trees import border_of

COMPARED = {"lessThan": operator.lt, "lessOrEqual": operator.le}
CONDITIONS = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**127))


@given(CONDITIONS, st.floats(allow_nan=False, min_value=-(2.0**127), max_value=2.0**127))
def test_a_border_parts_numbers_as_xgboost_does(condition: float, other: float) -> None:
    less, border = border_of(condition)
    near = [
        border,
        *np.nextafter(border, [-np.inf, np.inf]),
        condition,
        *np.nextafter(condition, [-np.inf, np.inf]),
    ]
    for value in [*near, other]:
        assert COMPARED[less](value, border) == (np.float32(value) < np.float32(condition))
