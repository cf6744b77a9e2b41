"""PMML says in an evaluator that knows nothing of headrace what the pipeline says, or is not written."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import (
    GammaRegressor,
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
)
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from tests.serving.conftest import training_rows
from xgboost import XGBClassifier, XGBRegressor

from headrace.cli import run
from headrace.errors import MissingExtraError, PackageError
from headrace.packaging.exports import pmml_evaluator, pmml_trees
from headrace.packaging.exports.files import export_file, exports_of
from headrace.packaging.exports.gate import compare, gate_rows
from headrace.packaging.exports.pmml_elements import PMML
from headrace.packaging.exports.pmml_evaluator import PmmlModel, evaluate, has_java
from headrace.packaging.exports.pmml_file import write_pmml
from headrace.packaging.exports.pmml_trees import border_of
from headrace.packaging.inputs import to_frame, to_table
from headrace.packaging.package import read_package, write_package
from headrace.packaging.signature import InputColumn, Signature
from headrace.preparation.fitted import build_transformer, fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.profiling.profile import profile_table
from headrace.serving.prepared import candidates, read_preparation, write_preparation

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.packaging.exports.gate import GateResult

evaluated = pytest.mark.skipif(
    find_spec("pypmml") is None or not has_java(), reason="needs the extra pmml and Java"
)
CLIPPED = {"numeric": {"outliers": "clip", "scale": "robust", "impute": "median"}}
RARE = {"categorical": {"min_frequency": 130}, "columns": {"count": {"encode": "one_hot"}}}
CODES = {"categorical": {"encode": "ordinal", "min_frequency": 130}, "numeric": {"scale": "minmax"}}
AS_IT_IS = {
    "numeric": {"impute": "none", "indicator": False, "clip": None, "scale": "none"},
    "categorical": {"encode": "ordinal"},
}
TREES: dict[str, Any] = {"n_estimators": 9, "max_depth": 4}
KINDS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "two classes": (SGDClassifier(loss="log_loss", random_state=0), ("no", "yes"), {}),
    "softmax": (LogisticRegression(max_iter=50), ("a", "b", "c"), RARE),
    "one against the rest": (SGDClassifier(loss="log_loss", random_state=0), ("a", "b", "c"), {}),
    "a number": (Ridge(), (), CLIPPED),
    "weights of zero": (Lasso(alpha=100), (), CODES),
    "counts": (PoissonRegressor(), (), RARE),
    "amounts": (GammaRegressor(), (), CODES),
    "Platt": (CalibratedClassifierCV(SGDClassifier(random_state=0), ensemble=False), (0, 1), {}),
    "isotonic": (
        CalibratedClassifierCV(LogisticRegression(), method="isotonic", ensemble=False), (0, 1), {}
    ),
    "trees of two classes": (XGBClassifier(**TREES), (0, 1), AS_IT_IS),
    "trees of three classes": (XGBClassifier(**TREES), (0, 1, 2), RARE),
    "forests of trees of three classes": (
        XGBClassifier(**TREES, num_parallel_tree=3, subsample=0.5, random_state=0), (0, 1, 2), {}
    ),
    "trees of numbers": (XGBRegressor(**TREES), (), CODES),
    "trees of counts": (XGBRegressor(**TREES, objective="count:poisson"), (), {}),
    "trees of amounts": (XGBRegressor(**TREES, objective="reg:gamma"), (), AS_IT_IS),
    "trees with sets of codes": (
        XGBClassifier(**TREES, enable_categorical=True, feature_types=["c", "q", "q", "q"], max_cat_to_onehot=1),
        (0, 1),
        AS_IT_IS,
    ),
    "trees without splits": (XGBClassifier(**TREES, gamma=1e9), (0, 1), AS_IT_IS),
    "Platt of trees": (CalibratedClassifierCV(XGBClassifier(**TREES), ensemble=False), (0, 1), {}),
}  # fmt: skip


def fitted(
    estimator: Any, classes: tuple[Any, ...], options: dict[str, Any] | None = None, *, times: bool = False
) -> tuple[Any, ...]:
    data = training_rows() if times else training_rows().drop_columns(["at"])
    profile = profile_table(data)["all"]
    preparation = fit_preparation(
        profile, PrepareOptions.model_validate(options or {}), features=list(profile.columns)
    )
    inputs = tuple(InputColumn(name, column.type, column.kind) for name, column in profile.columns.items())
    transformer = build_transformer(preparation, dense=True)
    X = transformer.transform(to_frame(to_table(data, inputs)))
    y = np.nan_to_num(X) @ np.random.default_rng(0).normal(size=X.shape[1])
    if classes:
        borders = np.quantile(y, np.linspace(0, 1, len(classes) + 1)[1:-1])
        y = np.asarray(classes)[np.digitize(y, borders)]
    else:
        y = np.abs(y) + 0.1
    estimator.fit(X, y)
    task = "classification" if classes else "regression"
    signature = Signature(inputs, task, "late", classes)
    return Pipeline([("prepare", transformer), ("model", estimator)]), preparation, signature, profile


def packaged(place: Path, estimator: Any, classes: tuple[Any, ...], **settings: Any) -> Any:
    pipeline, preparation, signature, profile = fitted(estimator, classes, **settings)
    exports = exports_of(
        pipeline, signature, profile, further=candidates(pipeline, write_preparation(preparation))
    )
    write_package(
        place,
        pipeline=pipeline,
        signature=signature,
        profile=profile.to_dict(),
        metrics={"rows": 1, "metrics": {}, "slices": {}},
        provenance={},
        card={"name": "late"},
        exports=exports.files,
        gates=exports.gates,
    )
    return read_package(place)


@dataclass
class Answered:
    """A model that has been asked."""

    says: str
    said: np.ndarray[Any, Any]

    def ask(self, _table: pa.Table) -> np.ndarray[Any, Any]:
        return self.said


def rows_at_borders(pipeline: Pipeline) -> pa.Table:
    """Rows whose size lies at the conditions of trees, at the borders of their float32, and beside these."""
    splits = pipeline[-1].get_booster().trees_to_dataframe()
    conditions = splits.loc[splits["Feature"] == "f1", "Split"].astype(np.float32).unique()
    middles = np.array([border_of(condition)[1] for condition in conditions])
    sizes = np.concatenate([conditions, *(np.nextafter(middles, way) for way in (-np.inf, np.inf)), middles])
    rows = training_rows(len(sizes)).drop_columns(["at"])
    return rows.set_column(rows.column_names.index("size"), "size", pa.array(sizes.astype(float)))


@pytest.fixture(scope="module")
def found() -> dict[str, GateResult]:
    """What the gate finds of each kind; a Java machine takes seconds to start, and so one is asked about all."""
    models, held = [], []
    for name, (estimator, classes, options) in KINDS.items():
        pipeline, preparation, signature, profile = fitted(estimator, classes, options)
        content, precision = write_pmml(pipeline, preparation, signature)
        sample = rows_at_borders(pipeline) if name == "trees of two classes" else None
        rows = gate_rows(pipeline, signature, profile, sample)
        models.append((PmmlModel(content, signature), rows.table))
        held.append((name, pipeline, rows, precision))
        if name == "trees of numbers":
            # The condition itself is no border, as the number is not rounded to float32 before.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(pmml_trees, "border_of", lambda condition: ("lessThan", float(condition)))
                content, _ = write_pmml(pipeline, preparation, signature)
            models.append((PmmlModel(content, signature), rows.table))
            held.append(("not rounded", pipeline, rows, precision))
    return {
        name: compare(pipeline, Answered(model.says, said), rows, precision, kind="pmml")
        for (name, pipeline, rows, precision), (model, _), said in zip(
            held, models, evaluate(models), strict=True
        )
    }


@evaluated
@pytest.mark.parametrize("kind", KINDS)
def test_the_evaluator_says_what_the_pipeline_says(kind: str, found: dict[str, GateResult]) -> None:
    result = found[kind]
    assert result.passed, result
    assert result.rows > 400
    # XGBoost adds up float32, the evaluator float64.
    assert result.precision == ("float32" if "trees" in kind else "float64")
    assert result.largest_difference < (1e-6 if "trees" in kind else 1e-12)


@evaluated
def test_a_tree_that_does_not_round_is_refused_at_its_thresholds(found: dict[str, GateResult]) -> None:
    result = found["not rounded"]
    assert not result.passed
    assert result.worst is not None
    assert set(result.worst["row"]) == {"size", "count", "flag", "city"}
    assert 0 < result.at_thresholds < result.drawn


@evaluated
def test_a_file_is_written_once_it_has_passed(tmp_path: Path) -> None:
    estimator = FixedThresholdClassifier(XGBClassifier(**TREES), threshold=0.3)
    package = packaged(tmp_path / "model", estimator, (0, 1))
    path, result = export_file(package, str(tmp_path / "out"), "pmml", preparation=read_preparation(package))
    assert path.endswith(PMML)
    assert result is not None
    assert result["passed"]


@evaluated
def test_a_file_that_says_something_else_is_refused_with_its_worst_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = packaged(tmp_path / "model", LogisticRegression(), (0, 1))
    monkeypatch.setattr(PmmlModel, "ask", lambda _model, table: np.full((table.num_rows, 2), 0.5))
    with pytest.raises(PackageError, match=r"differs from the pipeline by .*, worst at \{'row': \{'size'"):
        export_file(package, str(tmp_path / "out"), "pmml", preparation=read_preparation(package))
    assert not (tmp_path / "out").exists()


def test_the_file_holds_a_field_for_each_number_and_category() -> None:
    pipeline, preparation, signature, _ = fitted(Ridge(), (), CLIPPED)
    root = ET.fromstring(write_pmml(pipeline, preparation, signature)[0])
    names = [str(field.get("name")) for field in root.iter("{http://www.dmg.org/PMML-4_4}DerivedField")]
    assert sorted(names) == [
        "missing: size", "numbers: count", "numbers: flag", "numbers: size", "one_hot: city",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("estimator", "classes", "settings", "said"),
    [
        (GaussianNB(), ("no", "yes"), {}, "GaussianNB is not written"),
        (
            CalibratedClassifierCV(GaussianNB(), ensemble=False),
            ("no", "yes"),
            {},
            "GaussianNB is not written",
        ),
        (CalibratedClassifierCV(LogisticRegression()), (0, 1), {}, "an ensemble of calibrations"),
        (XGBRegressor(n_estimators=2, booster="gblinear"), (), {}, "the booster gblinear has no converter"),
        (
            XGBClassifier(n_estimators=2, multi_strategy="multi_output_tree"),
            (0, 1, 2),
            {},
            "trees that add to several outputs each have no converter",
        ),
        (XGBRegressor(**TREES, objective="reg:squaredlogerror"), (), {}, "squaredlogerror has no converter"),
        (Ridge(), (), {"times": True}, "at is prepared in a way that is not written"),
        (
            Ridge(),
            (),
            {"options": {"columns": {"count": {"expand": {"method": "powers", "degree": 2}}}}},
            "count",
        ),
    ],
    ids=[
        "naive Bayes",
        "calibrated naive Bayes",
        "ensemble",
        "linear booster",
        "several outputs",
        "objective",
        "times",
        "recipe",
    ],
)
def test_what_is_not_written_is_named(
    estimator: Any, classes: tuple[Any, ...], settings: dict[str, Any], said: str
) -> None:
    pipeline, preparation, signature, _ = fitted(estimator, classes, **settings)
    with pytest.raises(PackageError, match=said):
        write_pmml(pipeline, preparation, signature)


def test_what_it_needs_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = packaged(tmp_path / "model", Ridge(), ())
    monkeypatch.setattr(pmml_evaluator, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="pypmml"):
        export_file(package, str(tmp_path / "out"), "pmml", preparation=read_preparation(package))
    monkeypatch.setattr(pmml_evaluator, "find_spec", lambda _name: True)
    monkeypatch.setattr(pmml_evaluator, "has_java", lambda: False)
    assert run(["models", "export", package.url, str(tmp_path / "out"), "--format", "pmml"]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "no java here" in line
    assert "install a Java runtime" in line


@evaluated
def test_a_file_that_cannot_be_loaded_is_one_line() -> None:
    signature = fitted(Ridge(), ())[2]
    with pytest.raises(PackageError, match="cannot be evaluated"):
        PmmlModel(b"<PMML", signature).ask(pa.table({"size": [1.0]}))
