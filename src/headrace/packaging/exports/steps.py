"""Fitted scikit-learn transformers as nodes of an ONNX graph, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import PackageError
from headrace.packaging.exports.graph import OPSET, Value
from headrace.packaging.exports.times import time_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.packaging.exports.graph import Graph

    Converter = Callable[[Graph, Any, Value], Value]

MISSING_STRING = "\ue000"
"""How a missing string is given to the graph, for ONNX has none: a character that is assigned to nobody's writing."""


def add_transformer(graph: Graph, step: Any, value: Value) -> Value:
    """Add one fitted transformer to the graph.

    Those that headrace makes are written by `CONVERTERS`; any other is left to sklearn-onnx.

    Parameters
    ----------
    graph : Graph
        Grows.
    step : scikit-learn transformer
        Fitted.
    value : Value
        What it transforms.

    Raises
    ------
    PackageError
        When there is no way to write it.
    """
    if isinstance(step, str):
        if step == "passthrough":
            return value
        raise PackageError(f"a step {step!r} cannot be written", where="ONNX")
    name = type(step).__name__
    converter = CONVERTERS.get(name)
    return foreign(graph, step, value) if converter is None else converter(graph, step, value)


def foreign(graph: Graph, step: Any, value: Value) -> Value:
    """Add what sklearn-onnx makes of a transformer of numbers or strings."""
    model = converted(step, value)
    (name, *_) = graph.splice(model, {model.graph.input[0].name: value.name})
    from onnx import TensorProto

    # Some converters give float32 whatever they take.
    name = graph.add("Cast", name, to=TensorProto.DOUBLE)
    width = step.get_feature_names_out().shape[0] if hasattr(step, "get_feature_names_out") else 0
    return Value(name, "numbers", width)


def converted(step: Any, value: Value, precision: str = "float64", **options: Any) -> Any:
    """Convert an estimator by sklearn-onnx.

    Parameters
    ----------
    step : scikit-learn estimator
        Fitted.
    value : Value
        What it takes.
    precision : {"float64", "float32"}
        Of numbers.
    **options
        Of its converter.

    Raises
    ------
    PackageError
        When it has no converter, in one line.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    numbers = DoubleTensorType if precision == "float64" else FloatTensorType
    kind = StringTensorType if value.sort == "strings" else numbers
    try:
        return convert_sklearn(
            step,
            initial_types=[("X", kind([None, value.width]))],
            target_opset={"": OPSET, "ai.onnx.ml": 3},
            options={id(step): options} if options else None,
        )
    except Exception as error:  # the library raises bare exceptions of many kinds
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise PackageError(
            f"{type(step).__name__} has no converter: {reason.strip()[:200]}", where="ONNX"
        ) from error


def pipeline(graph: Graph, steps: Any, value: Value) -> Value:
    """Add each step of a pipeline."""
    for _, step in steps.steps:
        value = add_transformer(graph, step, value)
    return value


def column_transformer(graph: Graph, transformer: Any, columns: dict[str, Value]) -> Value:
    """Add a fitted `ColumnTransformer` whose columns are chosen by name, in the order of its output."""
    made = []
    for name, step, chosen in transformer.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        if not all(isinstance(column, str) for column in chosen):
            raise PackageError("columns are not chosen by name", where=f"ONNX: step {name!r}")
        taken = [columns[column] for column in chosen]
        # Encoders of strings look each column up by itself.
        made.append(add_transformer(graph, step, graph.join(taken)))
    return graph.join(made)


def _constant(graph: Graph, values: Any) -> str:
    return graph.constant(np.asarray(values, dtype=np.float64).reshape(1, -1))


def _standard(graph: Graph, step: Any, value: Value) -> Value:
    name = value.name
    if step.with_mean:
        name = graph.add("Sub", name, _constant(graph, step.mean_))
    if step.with_std:
        name = graph.add("Div", name, _constant(graph, step.scale_))
    return Value(name, "numbers", value.width)


def _minmax(graph: Graph, step: Any, value: Value) -> Value:
    name = graph.add("Mul", value.name, _constant(graph, step.scale_))
    name = graph.add("Add", name, _constant(graph, step.min_))
    if step.clip:
        low, high = (graph.constant(np.float64(end)) for end in step.feature_range)
        name = graph.add("Clip", name, low, high)
    return Value(name, "numbers", value.width)


def _robust(graph: Graph, step: Any, value: Value) -> Value:
    name = value.name
    if step.with_centering:
        name = graph.add("Sub", name, _constant(graph, step.center_))
    if step.with_scaling:
        name = graph.add("Div", name, _constant(graph, step.scale_))
    return Value(name, "numbers", value.width)


def _max_abs(graph: Graph, step: Any, value: Value) -> Value:
    return Value(graph.add("Div", value.name, _constant(graph, step.scale_)), "numbers", value.width)


def _impute(graph: Graph, step: Any, value: Value) -> Value:
    if step.add_indicator:
        raise PackageError("an imputer with an indicator of its own has no converter", where="ONNX")
    if value.sort == "strings":
        fills = graph.constant(np.asarray(step.statistics_, dtype=object).reshape(1, -1))
        absent = graph.add("Equal", value.name, graph.constant(np.array([MISSING_STRING], dtype=object)))
        return Value(graph.add("Where", absent, fills, value.name), "strings", value.width)
    statistics = np.asarray(step.statistics_, dtype=np.float64)
    if np.isnan(statistics).any() or not _is_nan(step.missing_values):
        raise PackageError("an imputer that drops columns has no converter", where="ONNX")
    absent = graph.add("IsNaN", value.name)
    return Value(graph.add("Where", absent, _constant(graph, statistics), value.name), "numbers", value.width)


def _indicator(graph: Graph, step: Any, value: Value) -> Value:
    from onnx import TensorProto

    if step.features != "all":
        raise PackageError("an indicator of some columns has no converter", where="ONNX")
    absent = graph.add("IsNaN", value.name)
    return Value(graph.add("Cast", absent, to=TensorProto.DOUBLE), "numbers", value.width)


def _one_hot(graph: Graph, step: Any, value: Value) -> Value:
    """Each category to a row of a table of zeros and ones; rare ones share a feature, unseen ones have it or none."""
    if step.drop is not None:
        raise PackageError("an encoder that drops a category has no converter", where="ONNX")
    made = []
    for index, categories in enumerate(step.categories_):
        rare = _infrequent(step, index)
        known = [category for category in categories if not _is_in(category, rare)]
        width = len(known) + (len(rare) > 0)
        table = np.zeros((width + 1, width))
        np.fill_diagonal(table, 1.0)
        unseen = len(known) if len(rare) and step.handle_unknown == "infrequent_if_exist" else width
        codes = dict(enumerate(known))
        by_category = [(category, code) for code, category in codes.items()]
        by_category += [(category, len(known)) for category in rare]
        made.append(_looked_up(graph, graph.column(value, index), by_category, table, unseen))
    return graph.join(made)


def _ordinal(graph: Graph, step: Any, value: Value) -> Value:
    """Each category to its code; rare ones share the last code, unseen ones have `unknown_value`."""
    if step.handle_unknown != "use_encoded_value":
        raise PackageError("an encoder that refuses unseen categories has no converter", where="ONNX")
    made = []
    for index, categories in enumerate(step.categories_):
        rare = _infrequent(step, index)
        known = [category for category in categories if not _is_in(category, rare)]
        codes = [*range(len(known)), *([len(known)] if len(rare) else []), step.unknown_value]
        # scikit-learn gives a missing category its own value, whatever its place is.
        by_category = [(category, code) for code, category in enumerate(known)]
        by_category += [(category, len(known)) for category in rare]
        table = np.asarray(codes, dtype=np.float64).reshape(-1, 1)
        for place, category in enumerate(known):
            if _is_nan(category):
                table[place] = step.encoded_missing_value
        made.append(_looked_up(graph, graph.column(value, index), by_category, table, len(table) - 1))
    return graph.join(made)


def _looked_up(
    graph: Graph, column: Value, rows: list[tuple[Any, int]], table: np.ndarray[Any, Any], default: int
) -> Value:
    """Give each value of a column a row of a table."""
    if column.sort == "strings":
        code = graph.add(
            "LabelEncoder",
            column.name,
            domain="ai.onnx.ml",
            keys_strings=[str(category) for category, _ in rows],
            values_int64s=[row for _, row in rows],
            default_int64=default,
        )
    else:
        code = _number_code(graph, column, rows, default)
    # (rows, 1) looked up in (codes, width) is (rows, 1, width).
    found = graph.add("Gather", graph.constant(table), code, axis=0)
    shape = graph.constant(np.array([-1, table.shape[1]], dtype=np.int64))
    return Value(graph.add("Reshape", found, shape), "numbers", table.shape[1])


def _number_code(graph: Graph, column: Value, rows: list[tuple[Any, int]], default: int) -> str:
    """Code of a number by comparing it with each category: the runtime looks float64 keys up as float32."""
    from onnx import TensorProto

    finite = [(category, row) for category, row in rows if not _is_nan(category)]
    keys = graph.constant(np.array([[category for category, _ in finite]], dtype=np.float64))
    equal = graph.add("Cast", graph.add("Equal", column.name, keys), to=TensorProto.INT64)
    # What a match adds to the code of an unseen value.
    steps = graph.constant(np.array([[row - default] for _, row in finite], dtype=np.int64))
    code = graph.add("Add", graph.add("MatMul", equal, steps), graph.constant(np.array([default])))
    for category, row in rows:
        if _is_nan(category):
            absent = graph.add("IsNaN", column.name)
            code = graph.add("Where", absent, graph.constant(np.array([row])), code)
    return code


def _infrequent(step: Any, index: int) -> Any:
    rare = getattr(step, "infrequent_categories_", None)
    return [] if rare is None or rare[index] is None else list(rare[index])


def _is_in(category: Any, rare: list[Any]) -> bool:
    return any(category == other or (_is_nan(category) and _is_nan(other)) for other in rare)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value  # noqa: PLR0124 - only NaN differs from itself


CONVERTERS: dict[str, Converter] = {
    "Pipeline": pipeline,
    "StandardScaler": _standard,
    "MinMaxScaler": _minmax,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "SimpleImputer": _impute,
    "MissingIndicator": _indicator,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "DatetimeParts": time_parts,
}
"""By class: those that headrace fits, whose arithmetic is here the same in the same order."""
