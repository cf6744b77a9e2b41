"""A pipeline written as a PMML file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from headrace.errors import PackageError
from headrace.packaging.exports.boosted import BOOSTED, read_trees
from headrace.packaging.exports.calibrated import parts_of
from headrace.packaging.exports.estimators import bare, link_of
from headrace.packaging.exports.pmml_answers import Answer, add_answer
from headrace.packaging.exports.pmml_elements import PMML, child, model, segment, segments
from headrace.packaging.exports.pmml_features import add_decisions, add_features
from headrace.packaging.exports.pmml_trees import add_sums, features_of

if TYPE_CHECKING:
    from headrace.packaging.exports.estimators import Precision
    from headrace.packaging.signature import Signature
    from headrace.preparation.fitted import Preparation
    from headrace.preparation.layout import Layout

_NAMESPACE = "http://www.dmg.org/PMML-4_4"


def write_pmml(pipeline: Any, preparation: Preparation, signature: Signature) -> tuple[bytes, Precision]:
    """Write a pipeline as PMML 4.4: derived fields of the features, and models of these.

    A linear model is a ``RegressionModel``; boosted trees are a ``MiningModel``, a chain of the sums of their trees
    and of a ``RegressionModel`` of the sums. The inputs are the columns of the signature, the outputs
    ``probability_CLASS`` for each class, or ``prediction``.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted.
    preparation : Preparation
        That the pipeline begins with.
    signature : Signature
        What it takes and gives.

    Returns
    -------
    content : bytes
        The file.
    precision : {"float64", "float32"}
        In which the pipeline itself adds up: XGBoost takes float32.

    Raises
    ------
    PackageError
        When the estimator is neither linear nor boosted, or a column is prepared in a way that is not written.
    """
    if signature.features_function is not None:
        raise PackageError("a feature function in Python cannot be written", where=PMML)
    if len(pipeline.steps) > 2:
        raise PackageError(f"the step {pipeline.steps[1][0]!r} is not written", where=PMML)
    root = ET.Element("PMML", version="4.4", xmlns=_NAMESPACE)
    child(root, "Header")
    target = signature.target or "prediction"
    labels = [str(label) for label in signature.classes]
    dictionary = child(root, "DataDictionary")
    for column in signature.inputs:
        _data_field(dictionary, column.name, text=column.kind == "string")
    own = _data_field(dictionary, target, text=bool(labels))
    for label in labels:
        child(own, "Value", value=label)
    columns = [column.name for column in signature.inputs]
    estimator, curve = bare(pipeline.steps[-1][1]), None
    if type(estimator).__name__ == "CalibratedClassifierCV":
        estimator, curve = parts_of(estimator)
    fields = child(root, "TransformationDictionary")
    if type(estimator).__name__ not in BOOSTED:
        answer = _linear(fields, estimator, curve, preparation.layout)
        add_answer(root, answer, columns, target, labels)
        precision: Precision = "float64"
    else:
        trees = read_trees(estimator)
        names = add_features(fields, preparation.layout, features_of(trees))
        function = "classification" if labels else "regression"
        chain = segments(model(root, "MiningModel", columns, target, functionName=function), "modelChain")
        decisions = add_sums(chain, trees, names)
        sums = [name for decision in decisions for name, _ in decision.terms]
        add_answer(segment(chain), Answer(decisions, trees.link, curve), sums, target, labels)
        precision = "float32"
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content, precision


def _linear(fields: ET.Element, estimator: Any, curve: Any, layout: Layout) -> Answer:
    link = link_of(estimator) if curve is None else "identity"  # it takes the decision itself
    if link is None or not hasattr(estimator, "coef_"):
        raise PackageError(
            f"{type(estimator).__name__} is not written, but linear models and boosted trees", where=PMML
        )
    weights = np.atleast_2d(estimator.coef_)
    offsets = np.broadcast_to(estimator.intercept_, (len(weights),))
    return Answer(add_decisions(fields, layout, weights, offsets), link, curve)


def _data_field(fields: ET.Element, name: str, *, text: bool) -> ET.Element:
    about = (
        {"optype": "categorical", "dataType": "string"}
        if text
        else {"optype": "continuous", "dataType": "double"}
    )
    return child(fields, "DataField", name=name, **about)
