"""PMML says in an evaluator that knows nothing of headrace what the pipeline says, or is not written."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from tests.serving.conftest import training_rows

from headrace.cli import run
from headrace.errors import MissingExtraError, PackageError
from headrace.packaging.exports import pmml_file
from headrace.packaging.exports.files import export_file, exports_of
from headrace.packaging.exports.pmml_file import PMML, PmmlModel, has_java, write_pmml
from headrace.packaging.inputs import to_frame, to_table
from headrace.packaging.package import read_package, write_package
from headrace.packaging.signature import InputColumn, Signature
from headrace.preparation.fitted import build_transformer, fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.profiling.profile import profile_table
from headrace.serving.prepared import candidates, read_preparation, write_preparation

if TYPE_CHECKING:
    from pathlib import Path

evaluated = pytest.mark.skipif(
    find_spec("pypmml") is None or not has_java(), reason="needs the extra pmml and Java"
)
CLIPPED = {"numeric": {"outliers": "clip", "scale": "robust", "impute": "median"}}


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
    y = X @ np.random.default_rng(0).normal(size=X.shape[1])
    if classes:
        borders = np.quantile(y, np.linspace(0, 1, len(classes) + 1)[1:-1])
        y = np.asarray(classes)[np.digitize(y, borders)]
    elif isinstance(estimator, PoissonRegressor):
        y = np.abs(y)
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


@evaluated
@pytest.mark.parametrize(
    ("estimator", "classes", "options"),
    [
        (FixedThresholdClassifier(SGDClassifier(loss="log_loss"), threshold=0.3), ("no", "yes"), {}),
        (Ridge(), (), CLIPPED),
    ],
    ids=["two classes", "a number"],
)
def test_the_evaluator_says_what_the_pipeline_says(
    estimator: Any, classes: tuple[Any, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    package = packaged(tmp_path / "model", estimator, classes, options=options)
    path, result = export_file(package, str(tmp_path / "out"), "pmml", preparation=read_preparation(package))
    assert path.endswith(PMML)
    assert result is not None
    assert result["passed"]
    assert result["rows"] > 400
    assert result["largest_difference"] < 1e-12


@evaluated
def test_a_file_that_says_something_else_is_refused_with_its_worst_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = packaged(tmp_path / "model", LogisticRegression(), (0, 1))
    written = write_pmml

    def changed(*given: Any) -> bytes:
        return written(*given).replace(b'intercept="0"', b'intercept="0.001"')

    monkeypatch.setattr("headrace.packaging.exports.files.write_pmml", changed)
    with pytest.raises(PackageError, match=r"differs from the pipeline by .*, worst at \{'row': \{'size'"):
        export_file(package, str(tmp_path / "out"), "pmml", preparation=read_preparation(package))
    assert not (tmp_path / "out").exists()


def test_the_file_holds_a_field_for_each_number_and_category() -> None:
    pipeline, preparation, signature, _ = fitted(Ridge(), (), CLIPPED)
    root = ET.fromstring(write_pmml(pipeline, preparation, signature))
    names = [str(field.get("name")) for field in root.iter("{http://www.dmg.org/PMML-4_4}DerivedField")]
    assert sorted(names) == [
        "missing: size", "numbers: count", "numbers: flag", "numbers: size", "one_hot: city",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("estimator", "classes", "settings", "said"),
    [
        (GaussianNB(), ("no", "yes"), {}, "GaussianNB is not written"),
        (LogisticRegression(), ("a", "b", "c"), {}, "LogisticRegression is not written"),
        (PoissonRegressor(), (), {}, "PoissonRegressor is not written"),
        (Ridge(), (), {"times": True}, "at is prepared in a way that is not written"),
        (
            Ridge(),
            (),
            {"options": {"columns": {"count": {"expand": {"method": "powers", "degree": 2}}}}},
            "count",
        ),
        (Ridge(), (), {"options": {"categorical": {"encode": "ordinal"}}}, "city is prepared"),
    ],
    ids=["naive Bayes", "three classes", "counts", "times", "recipe", "ordinal"],
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
    monkeypatch.setattr(pmml_file, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="pypmml"):
        export_file(package, str(tmp_path / "out"), "pmml", preparation=read_preparation(package))
    monkeypatch.setattr(pmml_file, "find_spec", lambda _name: True)
    monkeypatch.setattr(pmml_file, "has_java", lambda: False)
    assert run(["models", "export", package.url, str(tmp_path / "out"), "--format", "pmml"]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "no java here" in line
    assert "install a Java runtime" in line


@evaluated
def test_a_file_that_cannot_be_loaded_is_one_line() -> None:
    signature = fitted(Ridge(), ())[2]
    with pytest.raises(PackageError, match="cannot be evaluated"):
        PmmlModel(b"<PMML", signature).ask(pa.table({"size": [1.0]}))
