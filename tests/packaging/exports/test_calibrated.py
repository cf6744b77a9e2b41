"""Curves with few pieces are written as well as those with many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from headrace.packaging.exports.calibrated import add_curve
from headrace.packaging.exports.graph import Graph

ort = pytest.importorskip("onnxruntime")

KNOWN: dict[str, tuple[list[float], list[float]]] = {
    "one level": ([1.0, 2.0, 3.0], [0.5, 0.5, 0.5]),
    "one rise": ([0.0, 1.0], [0.2, 0.9]),
    "steps": ([0.0, 1.0, 1.5, 2.0, 4.0, 5.0], [0.0, 0.1, 0.1, 0.7, 0.7, 1.0]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_curve_rises_as_in_scikit_learn_and_is_flat_beyond_its_ends(name: str) -> None:
    from onnx import TensorProto

    x, y = KNOWN[name]
    curve: Any = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    graph = Graph()
    said = graph.input("said", "numbers")
    output = add_curve(graph, curve, said.name, "float64")
    model = graph.model({"p": (output, TensorProto.DOUBLE, ["rows", 1])})
    asked = np.concatenate([np.linspace(-1, 6, 50), x])
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"said": asked.reshape(-1, 1)})
    np.testing.assert_allclose(found[:, 0], curve.predict(asked), atol=1e-12)
