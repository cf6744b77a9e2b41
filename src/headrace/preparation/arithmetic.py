"""Arithmetic between columns as scikit-learn's transformers: an expression to a chain of sums, products and reciprocals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.data.expressions import Arithmetic, Call, Column, Literal, parse_expression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.data.expressions import Expression

WHAT = "a derived column is made of columns, numbers, + - * /, parentheses and abs()"


def parse_arithmetic(text: str) -> Expression:
    """Parse an expression that gives a number in each row.

    Raises
    ------
    ValueError
        When it is not understood, or does more than arithmetic.

    Examples
    --------
    >>> parse_arithmetic("distance / air_time")
    Arithmetic(op='/', left=Column(name='distance'), right=Column(name='air_time'))
    """
    tree = parse_expression(text)
    _require_arithmetic(tree)
    return tree


def _require_arithmetic(tree: Expression) -> None:
    if isinstance(tree, Arithmetic):
        _require_arithmetic(tree.left)
        _require_arithmetic(tree.right)
    elif isinstance(tree, Call) and tree.function == "abs":
        _require_arithmetic(tree.argument)
    elif not isinstance(tree, Column) and not (
        isinstance(tree, Literal) and isinstance(tree.value, int | float) and not isinstance(tree.value, bool)
    ):
        raise ValueError(WHAT)


def build_arithmetic(learnt: Mapping[str, Any], X: Any) -> Any:
    """Build the transformer of an expression over the columns of a frame; times count in days since 1970.

    A value is missing where a column of it is, or a divisor is 0.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    from headrace.preparation.datetimes import DatetimeParts

    columns = list(X.columns)
    numbers: Any = StandardScaler(with_mean=False, with_std=False)
    if learnt["times"]:
        numbers = DatetimeParts(parts=["epoch_days"])
    nothing = {"nan": np.nan, "posinf": np.nan, "neginf": np.nan}
    finite = FunctionTransformer(np.nan_to_num, kw_args=nothing)
    made = _build(parse_arithmetic(learnt["text"]), columns)
    chain = Pipeline([("numbers", numbers), ("compute", made), ("finite", finite)])
    with np.errstate(all="ignore"):
        return chain.fit(X)


def _build(tree: Expression, columns: Sequence[str]) -> Any:
    """Return a transformer of one column, or a number where the expression is one."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion
    from sklearn.preprocessing import FunctionTransformer

    if isinstance(tree, Column):
        return ColumnTransformer([("column", "passthrough", [columns.index(tree.name)])])
    if isinstance(tree, Literal):
        return float(tree.value)  # type: ignore[arg-type]  # parse_arithmetic lets only numbers through
    if isinstance(tree, Call):
        return _then(_build(tree.argument, columns), FunctionTransformer(np.abs))
    assert isinstance(tree, Arithmetic)
    left, right = _build(tree.left, columns), _build(tree.right, columns)
    if isinstance(left, float) and isinstance(right, float):
        with np.errstate(all="ignore"):
            return float(_ON_NUMBERS[tree.op](np.float64(left), np.float64(right)))
    if tree.op in "-/" and not isinstance(right, float):
        turned = FunctionTransformer(np.negative if tree.op == "-" else np.reciprocal)
        right = _then(right, turned)
    elif tree.op in "-/":
        with np.errstate(all="ignore"):
            right = -right if tree.op == "-" else float(np.divide(1.0, right))
    adds = tree.op in "+-"
    if isinstance(left, float):
        left, right = right, left
    if isinstance(right, float):
        return _then(left, _line(right, 1.0) if adds else _line(0.0, right))
    both = FeatureUnion([("left", left), ("right", right)])
    gather = FunctionTransformer(np.sum if adds else np.prod, kw_args={"axis": 1, "keepdims": True})
    return _then(both, gather)


_ON_NUMBERS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}


def _then(first: Any, second: Any) -> Any:
    from sklearn.pipeline import Pipeline

    return Pipeline([("first", first), ("then", second)])


def _line(add: float, times: float) -> Any:
    """Multiply by a number and add one."""
    from numpy.polynomial.polynomial import polyval
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(polyval, kw_args={"c": [add, times]})
