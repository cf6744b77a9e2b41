"""Calibrations, taken apart, and their curves as nodes of an ONNX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import PackageError

if TYPE_CHECKING:
    from headrace.packaging.exports.graph import Graph


def parts_of(estimator: Any) -> tuple[Any, Any]:
    """Return the classifier of two classes within a fitted `CalibratedClassifierCV`, and the curve of its calibration.

    The curve takes what ``decision_function`` gives, and the probability of the second class where there is none.

    Raises
    ------
    PackageError
        When there are more classes, or an ensemble of calibrated classifiers.
    """
    held, *others = estimator.calibrated_classifiers_
    inner = getattr(held.estimator, "estimator", held.estimator)  # as it is, or frozen
    name = type(inner).__name__
    if others:
        raise PackageError("an ensemble of calibrations has no converter", where=name)
    if len(estimator.classes_) != 2:
        raise PackageError("a calibration of more than two classes has no converter", where=name)
    return inner, held.calibrators[0]


def add_curve(graph: Graph, curve: Any, said: str, precision: str) -> str:
    """Add what turns the answers of a classifier into probabilities.

    Parameters
    ----------
    graph : Graph
        Grows.
    curve : IsotonicRegression, or Platt's of scikit-learn
        Fitted.
    said : str
        Tensor of answers, shape (rows, 1).
    precision : {"float64", "float32"}
        Of the arithmetic.

    Returns
    -------
    str
        Tensor of probabilities of the second class, shape (rows, 1).
    """
    from onnx import TensorProto

    def constant(values: Any) -> str:
        return graph.constant(np.asarray(values, dtype=precision))

    if not hasattr(curve, "X_thresholds_"):
        scaled = graph.add("Mul", said, constant([-curve.a_]))
        return graph.add("Sigmoid", graph.add("Sub", scaled, constant([curve.b_])))
    x, y = np.asarray(curve.X_thresholds_), np.asarray(curve.y_thresholds_)
    if len(x) < 3:  # flat pieces at the end, so that there are borders within
        x, y = np.append(x, x[-1] + [1.0, 2.0]), np.append(y, [y[-1]] * 2)
    held = graph.add("Max", graph.add("Min", said, constant(x[-1:])), constant(x[:1]))
    # The piece in which an answer lies is the number of inner borders below it.
    above = graph.add("GreaterOrEqual", held, constant(x[1:-1]))
    counted = graph.add("Cast", above, to=TensorProto.INT64)
    piece = graph.add("ReduceSum", counted, graph.constant(np.array([1])), keepdims=1)
    slopes = np.diff(y) / np.diff(x)
    starts = graph.add("Gather", constant(x[:-1]), piece)
    rise = graph.add("Mul", graph.add("Sub", held, starts), graph.add("Gather", constant(slopes), piece))
    return graph.add("Add", rise, graph.add("Gather", constant(y[:-1]), piece))
