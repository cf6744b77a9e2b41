"""Fitted estimators as nodes of an ONNX graph: linear ones, boosted trees and calibrations here, others by sklearn-onnx."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headrace.errors import PackageError
from headrace.packaging.exports.boosted import BOOSTED, add_trees
from headrace.packaging.exports.calibrated import add_curve, parts_of
from headrace.packaging.exports.graph import Value
from headrace.packaging.exports.steps import converted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.packaging.exports.graph import Graph

Says = Literal["probabilities", "prediction"]
Precision = Literal["float64", "float32"]


@dataclass(frozen=True)
class Output:
    """What a model says."""

    name: str
    """Tensor: probabilities, shape (rows, classes), or predictions, shape (rows,)."""
    says: Says
    width: int
    kind: Precision | Literal["int64"]


def add_estimator(graph: Graph, estimator: Any, value: Value, precision: Precision) -> Output:
    """Add a fitted estimator to the graph.

    Parameters
    ----------
    graph : Graph
        Grows.
    estimator : scikit-learn estimator
        Fitted; a classifier needs `predict_proba`.
    value : Value
        Its features.
    precision : {"float64", "float32"}
        Of its arithmetic.

    Raises
    ------
    PackageError
        When there is no way to write it.
    """
    from sklearn.base import is_classifier

    estimator = bare(estimator)
    name = type(estimator).__name__
    if name == "CalibratedClassifierCV":
        return _calibrated(graph, estimator, value, precision)
    if name in {"VotingClassifier", "VotingRegressor", "StackingClassifier", "StackingRegressor"}:
        return _ensemble(graph, estimator, value, precision)
    if is_classifier(estimator) and not hasattr(estimator, "predict_proba"):
        raise PackageError(f"{type(estimator).__name__} gives no probabilities", where="ONNX")
    if precision == "float32":
        value = Value(_cast(graph, value.name, "float32"), value.sort, value.width)
    if name in BOOSTED:
        return _boosted(graph, estimator, value, precision)
    link = link_of(estimator)
    if link is not None:
        return _linear(graph, estimator, value, precision, link)
    return _foreign(graph, estimator, value, precision)


def bare(estimator: Any) -> Any:
    """Return an estimator without what is around it that changes no probability."""
    while type(estimator).__name__ in {"FixedThresholdClassifier", "FrozenEstimator"}:
        estimator = getattr(estimator, "estimator_", estimator.estimator)
    return estimator


def members_of(estimator: Any) -> Iterator[Any]:
    """Give the fitted members of an ensemble; GradientBoosting has an array of trees a round."""
    for member in getattr(estimator, "estimators_", ()):
        yield from member if isinstance(member, np.ndarray) else (member,)


def link_of(estimator: Any) -> str | None:
    """How a linear estimator turns its decision into what it says; None for one that is not known here."""
    name = type(estimator).__name__
    if name == "SGDClassifier" and estimator.loss == "log_loss":
        return "sigmoid"
    if name == "LogisticRegression":
        return "sigmoid" if len(estimator.classes_) == 2 else "softmax"
    plain = {
        "LinearRegression", "Ridge", "RidgeCV", "Lasso", "ElasticNet", "SGDRegressor", "QuantileRegressor",
    }  # fmt: skip
    if name in plain and np.ndim(estimator.coef_) == 1:
        return "identity"
    return "exp" if name in {"PoissonRegressor", "GammaRegressor"} else None


def _linear(graph: Graph, estimator: Any, value: Value, precision: Precision, link: str) -> Output:
    decision, outputs = _decision(graph, estimator, value, precision)
    return _linked(graph, decision, outputs, link, precision)


def _decision(graph: Graph, estimator: Any, value: Value, precision: Precision) -> tuple[str, int]:
    """Add what a linear estimator decides by, shape (rows, outputs), and return it with the number of outputs."""
    weights = np.atleast_2d(estimator.coef_).astype(precision)
    offsets = np.broadcast_to(np.asarray(estimator.intercept_, dtype=precision), (len(weights),))
    decision = graph.add("MatMul", value.name, graph.constant(weights.T.copy()))
    decision = graph.add("Add", decision, graph.constant(offsets.copy()))
    return decision, len(weights)


def _calibrated(graph: Graph, estimator: Any, value: Value, precision: Precision) -> Output:
    """Add a calibration of two classes: of a linear estimator's decision, or of the probability where there is none."""
    inner, curve = parts_of(estimator)
    decides = hasattr(inner, "decision_function")
    if decides and not hasattr(inner, "coef_"):
        raise PackageError(f"a calibration of {type(inner).__name__} has no converter", where="ONNX")
    if decides:
        if precision == "float32":
            value = Value(_cast(graph, value.name, "float32"), value.sort, value.width)
        said, _ = _decision(graph, inner, value, precision)
    else:
        output = add_estimator(graph, inner, value, precision)
        said = graph.column(Value(output.name, value.sort, output.width), 1).name
    second = add_curve(graph, curve, said, precision)
    first = graph.add("Sub", graph.constant(np.ones(1, dtype=precision)), second)
    return Output(graph.add("Concat", first, second, axis=1), "probabilities", 2, precision)


def _ensemble(graph: Graph, estimator: Any, value: Value, precision: Precision) -> Output:
    """Add the members of an ensemble and their weighted average, or the final estimator of a stack."""
    said = [add_estimator(graph, member, value, precision) for member in estimator.estimators_]
    width = said[0].width
    shape = graph.constant(np.array([-1, width], dtype=np.int64))
    outputs = [Value(graph.add("Reshape", each.name, shape), "numbers", width) for each in said]
    if hasattr(estimator, "final_estimator_"):
        # scikit-learn leaves out the first of two classes, which follows from the second.
        taken = [graph.column(each, 1) for each in outputs] if width == 2 else outputs
        return add_estimator(graph, estimator.final_estimator_, graph.join(taken), precision)
    weights = estimator.weights if estimator.weights is not None else np.ones(len(outputs))
    shares = np.asarray(weights, dtype=precision)
    scaled = [
        graph.add("Mul", each.name, graph.constant(np.array([share])))
        for each, share in zip(outputs, shares / shares.sum(), strict=True)
    ]
    mean = graph.add("Sum", *scaled)
    if said[0].says == "prediction":
        mean = graph.add("Reshape", mean, graph.constant(np.array([-1])))
    return replace(said[0], name=mean)


def _boosted(graph: Graph, estimator: Any, value: Value, precision: Precision) -> Output:
    features = _cast(graph, value.name, "float32")
    sums, outputs, link = add_trees(graph, estimator, features)
    said = _linked(graph, sums, outputs, link, "float32")
    return replace(said, name=_cast(graph, said.name, precision), kind=precision)


def _linked(graph: Graph, decision: str, outputs: int, link: str, precision: Precision) -> Output:
    """Turn decisions, shape (rows, outputs), into what a model says."""
    if link in {"identity", "exp"}:
        said = decision if link == "identity" else graph.add("Exp", decision)
        flat = graph.add("Reshape", said, graph.constant(np.array([-1])))
        return Output(flat, "prediction", 1, precision)
    if link == "softmax":
        return Output(graph.add("Softmax", decision, axis=1), "probabilities", outputs, precision)
    first = graph.add("Sigmoid", decision)
    if outputs == 1:
        rest = graph.add("Sub", graph.constant(np.ones(1, dtype=precision)), first)
        return Output(graph.add("Concat", rest, first, axis=1), "probabilities", 2, precision)
    # One against the rest: each class by itself, then scaled to sum to 1, as SGDClassifier does.
    total = graph.add("ReduceSum", first, graph.constant(np.array([1])), keepdims=1)
    return Output(graph.add("Div", first, total), "probabilities", outputs, precision)


def _foreign(graph: Graph, estimator: Any, value: Value, precision: Precision) -> Output:
    from sklearn.base import is_classifier

    if precision == "float64" and _has_trees(estimator):
        # sklearn-onnx looks for ever for the float64 of a threshold that parts missing values from others: infinity.
        raise PackageError(f"{type(estimator).__name__} compares and is written as float32", where="ONNX")
    if is_classifier(estimator):
        model = converted(estimator, value, precision, zipmap=False)
        names = graph.splice(model, {model.graph.input[0].name: value.name})
        said = _cast(graph, names[1], precision)
        return Output(said, "probabilities", len(estimator.classes_), precision)
    model = converted(estimator, value, precision)
    name = graph.splice(model, {model.graph.input[0].name: value.name})[0]
    kind: Precision | Literal["int64"] = "int64" if hasattr(estimator, "cluster_centers_") else precision
    flat = graph.add("Reshape", _cast(graph, name, kind), graph.constant(np.array([-1])))
    return Output(flat, "prediction", 1, kind)


def _has_trees(estimator: Any) -> bool:
    return hasattr(estimator, "tree_") or any(map(_has_trees, members_of(estimator)))


def _cast(graph: Graph, name: str, kind: str) -> str:
    from onnx import TensorProto

    kinds = {"float64": TensorProto.DOUBLE, "float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    return graph.add("Cast", name, to=kinds[kind])
