"""A linear model and its preparation written as PMML, and run by an evaluator in Java that knows nothing of headrace."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from headrace.errors import MissingExtraError, PackageError
from headrace.packaging.exports.estimators import link_of

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.packaging.signature import Signature
    from headrace.preparation.fitted import Preparation
    from headrace.preparation.layout import Layout
    from headrace.preparation.plans import CategoryPlan, NumericPlan

PMML = "model.pmml"
_NAMESPACE = "http://www.dmg.org/PMML-4_4"
_NORMALIZED = {"sigmoid": "logit", "identity": "none"}
"""What evaluators do to a decision, by link; their softmax and exp overflow far from the data, where ours do not."""
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EVALUATE = """
import json, sys
from pypmml import Model, PMMLContext
PMMLContext.getOrCreate(gateway="jpype")
given = json.load(sys.stdin)
print(Model.fromString(given["model"]).predict(given["rows"]))
"""


def write_pmml(pipeline: Any, preparation: Preparation, signature: Signature) -> bytes:
    """Write a pipeline as PMML 4.4: a ``RegressionModel`` over derived fields, one for each number and category.

    Its inputs are the columns of the signature, its outputs ``probability_CLASS`` for both classes, or ``prediction``.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted.
    preparation : Preparation
        That the pipeline begins with.
    signature : Signature
        What it takes and gives.

    Raises
    ------
    PackageError
        When the estimator is not linear with two classes or one number, or a column is prepared in a way that is not
        written.
    """
    estimator = pipeline.steps[-1][1]
    while type(estimator).__name__ in {
        "FixedThresholdClassifier",
        "FrozenEstimator",
    }:  # neither changes a probability
        estimator = getattr(estimator, "estimator_", estimator.estimator)
    link = link_of(estimator)
    if link not in _NORMALIZED or len(signature.classes) > 2 or len(pipeline.steps) > 2:
        raise PackageError(
            f"{type(estimator).__name__} is not written, but linear models of two classes or of a number",
            where=PMML,
        )
    if signature.features_function is not None:
        raise PackageError("a feature function in Python cannot be written", where=PMML)
    root = ET.Element("PMML", version="4.4", xmlns=_NAMESPACE)
    ET.SubElement(root, "Header")
    target = signature.target or "prediction"
    labels = [str(label) for label in signature.classes]
    fields = _child(root, "DataDictionary")
    for column in signature.inputs:
        _data_field(fields, column.name, text=column.kind == "string")
    own = _data_field(fields, target, text=bool(labels))
    for label in labels:
        _child(own, "Value", value=label)
    predictors = _derive(
        _child(root, "TransformationDictionary"), preparation.layout, np.ravel(estimator.coef_)
    )
    model = _child(
        root,
        "RegressionModel",
        functionName="classification" if labels else "regression",
        normalizationMethod=_NORMALIZED[link],
    )
    schema = _child(model, "MiningSchema")
    for column in signature.inputs:
        _child(schema, "MiningField", name=column.name, invalidValueTreatment="asIs")
    _child(schema, "MiningField", name=target, usageType="target")
    _outputs(_child(model, "Output"), labels)
    # The decision is that of the second class; the first has what is left.
    about = {"targetCategory": labels[1]} if labels else {}
    table = _child(
        model, "RegressionTable", intercept=repr(float(np.ravel(estimator.intercept_)[0])), **about
    )
    for name, coefficient in predictors:
        _child(table, "NumericPredictor", name=name, coefficient=repr(coefficient))
    if labels:
        _child(model, "RegressionTable", intercept="0", targetCategory=labels[0])
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


class PmmlModel:
    """A PMML file of `write_pmml`, ready to be asked: by PMML4S in a process of its own, which ends with the answer.

    In this process a Java machine would stay for good; py4j, its other way, opens a port that asks nobody who they are.

    Parameters
    ----------
    content : bytes
        The file.
    signature : Signature
        Of the package that it lies in.

    Raises
    ------
    MissingExtraError
        Without the extra ``pmml``.
    PackageError
        Without Java.
    """

    def __init__(self, content: bytes, signature: Signature) -> None:
        if find_spec("pypmml") is None:
            raise MissingExtraError.for_extra("pypmml", "pmml")
        if not has_java():
            raise PackageError(
                "is checked by an evaluator in Java, and there is no java here",
                where=PMML,
                mend="install a Java runtime (8 or newer) and put java on the PATH",
            )
        self.says = "probabilities" if signature.classes else "prediction"
        self._names = [f"probability_{label}" for label in signature.classes] or ["prediction"]
        self._text = content.decode()

    def ask(self, table: pa.Table) -> np.ndarray[Any, Any]:
        """Compute what the model says of conformed rows: probabilities, shape (rows, classes), or predictions, (rows,).

        Raises
        ------
        PackageError
            When the evaluator cannot load the file, or cannot be run.
        """
        columns = [column.to_pylist() for column in table.columns]
        # As text, for a frame would be rounded to ten digits on the way.
        rows = json.dumps({"columns": table.column_names, "data": list(zip(*columns, strict=True))})
        done = subprocess.run(  # noqa: S603 - our own program, in the same Python
            [sys.executable, "-c", _EVALUATE],
            input=json.dumps({"model": self._text, "rows": rows}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise PackageError(f"cannot be evaluated: {reason}", where=PMML)
        said = json.loads(done.stdout.splitlines()[-1])
        places = [said["columns"].index(name) for name in self._names]
        values = np.array([[row[place] for place in places] for row in said["data"]], dtype=float)
        return values if self.says == "probabilities" else values[:, 0]


def has_java() -> bool:
    """Tell whether the evaluator can run here."""
    return shutil.which("java") is not None


def _child(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, attributes)


def _data_field(fields: ET.Element, name: str, *, text: bool) -> ET.Element:
    about = (
        {"optype": "categorical", "dataType": "string"}
        if text
        else {"optype": "continuous", "dataType": "double"}
    )
    return _child(fields, "DataField", name=name, **about)


def _outputs(output: ET.Element, labels: list[str]) -> None:
    about = {"optype": "continuous", "dataType": "double"}
    for label in labels:
        _child(
            output, "OutputField", name=f"probability_{label}", feature="probability", value=label, **about
        )
    if not labels:
        _child(output, "OutputField", name="prediction", feature="predictedValue", **about)


def _derive(place: ET.Element, layout: Layout, weights: np.ndarray[Any, Any]) -> list[tuple[str, float]]:
    """Write the derived fields; return the name and the coefficient of each."""
    predictors: list[tuple[str, float]] = []
    if layout.recipes:
        raise PackageError(f"{layout.recipes[0].name} is prepared in a way that is not written", where=PMML)
    for group in layout.groups:
        feature = group.start
        for plan in group.plans:
            name = f"{group.sort}: {plan.name}"
            if group.sort in {"numbers", "missing"}:
                field = _field(place, name)
                _number(field, plan) if group.sort == "numbers" else _missing(field, plan, "1", "0")
                predictors.append((name, float(weights[feature])))
                feature += 1
            elif group.sort == "one_hot" and not plan.numbers:
                width = len(plan.labels)
                # The coefficient of each category, so that one field stands for all of them.
                _category(_field(place, name), plan, weights[feature : feature + width])
                predictors.append((name, 1.0))
                feature += width
            else:
                raise PackageError(f"{plan.name} is prepared in a way that is not written", where=PMML)
    return predictors


def _field(place: ET.Element, name: str) -> ET.Element:
    return _child(place, "DerivedField", name=name, optype="continuous", dataType="double")


def _missing(parent: ET.Element, plan: NumericPlan, then: str, other: str | None) -> ET.Element:
    """Write an expression with one value where the number is missing; return it for what it is otherwise."""
    chosen = _child(parent, "Apply", function="if")
    _child(_child(chosen, "Apply", function="isMissing"), "FieldRef", field=plan.name)
    _constant(chosen, then)
    if other is not None:
        _constant(chosen, other)
    return chosen


def _number(field: ET.Element, plan: NumericPlan) -> None:
    if plan.fill is None:
        raise PackageError(f"{plan.name} may stay missing, which is not written", where=PMML)
    fill = plan.fill if plan.low is None else float(np.clip(plan.fill, plan.low, plan.high))
    chosen = _missing(field, plan, repr((fill - plan.center) / plan.spread), None)
    scaled = _child(chosen, "Apply", function="/")
    centered = _child(scaled, "Apply", function="-")
    value = centered
    if plan.low is not None:
        value = _child(_child(centered, "Apply", function="max"), "Apply", function="min")
    _child(value, "FieldRef", field=plan.name)
    if plan.low is not None:
        _constant(value, repr(float(plan.high)))  # type: ignore[arg-type]  # both bounds are set, or none
        _constant(centered[0], repr(float(plan.low)))
    _constant(centered, repr(float(plan.center)))
    _constant(scaled, repr(float(plan.spread)))


def _category(field: ET.Element, plan: CategoryPlan, weights: np.ndarray[Any, Any]) -> None:
    """Map each category to its coefficient; rare and unseen ones share one, or have none."""
    known = {str(value): float(weight) for value, weight in zip(plan.frequent, weights, strict=False)}
    other = float(weights[-1]) if plan.has_bucket else 0.0
    mapped = _child(
        field,
        "MapValues",
        outputColumn="weight",
        dataType="double",
        defaultValue=repr(other),
        mapMissingTo=repr(known.get(str(plan.fill), other)),
    )
    _child(mapped, "FieldColumnPair", field=plan.name, column="category")
    table = _child(mapped, "InlineTable")
    for value, weight in known.items():
        if _NOT_IN_XML.search(value):
            raise PackageError(f"{plan.name} has a category {value!r} that XML cannot hold", where=PMML)
        row = _child(table, "row")
        _child(row, "category").text = value
        _child(row, "weight").text = repr(weight)


def _constant(parent: ET.Element, value: str) -> None:
    _child(parent, "Constant", dataType="double").text = value
