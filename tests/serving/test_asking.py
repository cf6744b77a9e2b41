"""All ways to ask a model about many rows say the same; which is taken follows from the gates and the number of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import Perceptron, Ridge, SGDClassifier
from sklearn.pipeline import Pipeline
from tests.serving.conftest import trained, training_rows

from headrace.packaging.exports.files import exports_of, verify_package
from headrace.packaging.exports.onnx_file import OnnxModel
from headrace.packaging.inputs import to_frame, to_table
from headrace.packaging.package import Package, read_package, write_package
from headrace.preparation.fitted import Preparation, build_transformer, fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.serving import asking
from headrace.serving.asking import PipelineModel, ask, model_of
from headrace.serving.prepared import (
    PREPARATION,
    PreparedModel,
    candidates,
    read_preparation,
    write_preparation,
)

if TYPE_CHECKING:
    from pathlib import Path

RECIPES: dict[str, Any] = {"columns": {"count": {"expand": {"method": "powers", "degree": 2}}}}


def fitted(estimator: Any, *, dense: bool, options: dict[str, Any] | None = None) -> tuple[Any, ...]:
    data = training_rows()
    _, signature, profile = trained(data)
    preparation = fit_preparation(
        profile, PrepareOptions.model_validate(options or {}), features=list(profile.columns)
    )
    transformer = build_transformer(preparation, dense=dense)
    X = transformer.transform(to_frame(to_table(data, signature.inputs)))
    y = np.asarray(X[:, 0] if dense else X[:, [0]].toarray()[:, 0])
    labels = np.where(y > 0, "yes", "no") if hasattr(estimator, "partial_fit") else y
    estimator.fit(X, labels)
    return Pipeline([("prepare", transformer), ("model", estimator)]), signature, profile, preparation


def encoded(table: pa.Table) -> pa.Table:
    place = table.column_names.index("city")
    return table.set_column(place, "city", table["city"].cast(pa.string()).dictionary_encode())


@pytest.mark.parametrize("options", [{}, RECIPES], ids=["regular", "recipes"])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(
    "estimator", [SGDClassifier(loss="log_loss", random_state=0), Ridge(), KMeans(3, n_init=1)], ids=repr
)
def test_prepared_rows_get_what_the_pipeline_says(
    estimator: Any, dense: bool, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, signature, _, preparation = fitted(estimator, dense=dense, options=options)
    rows = to_table(training_rows(700, seed=3), signature.inputs)
    expected = PipelineModel(pipeline).ask(rows)
    model = PreparedModel(write_preparation(preparation), pipeline)
    np.testing.assert_allclose(model.ask(encoded(rows)), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(PipelineModel(pipeline).ask(encoded(rows)), expected)
    monkeypatch.setattr(asking, "CELLS", 40)
    np.testing.assert_allclose(ask(model, encoded(rows)), expected, rtol=0, atol=1e-12)


def test_what_is_not_trained_on_is_not_written() -> None:
    *_, preparation = fitted(Ridge(), dense=True)
    whole = replace(preparation, dropped=(), rules=())
    assert Preparation.from_json(write_preparation(preparation).decode()) == whole


def written(place: Path, estimator: Any, *, onnx: bool = True) -> Package:
    pipeline, signature, profile, preparation = fitted(estimator, dense=True)
    further = candidates(pipeline, write_preparation(preparation))
    exports = exports_of(pipeline, signature, profile, training_rows(50, seed=9), further)
    files = {name: content for name, content in exports.files.items() if onnx or name == PREPARATION}
    write_package(
        place,
        pipeline=pipeline,
        signature=signature,
        profile=profile.to_dict(),
        metrics={"rows": 1, "metrics": {}, "slices": {}},
        provenance={},
        card={"name": "late"},
        exports=files,
        gates=exports.gates,
    )
    return read_package(place)


def test_few_rows_are_asked_by_onnx_and_many_prepared(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    package = written(tmp_path / "both", SGDClassifier(loss="log_loss", random_state=0))
    assert package.manifest.gates["preparation"]["passed"]
    assert isinstance(model_of(package, rows=100, native=False), OnnxModel)
    assert isinstance(model_of(package, rows=asking.MANY, native=False), PreparedModel)
    rows = encoded(to_table(training_rows(300, seed=4), package.manifest.signature.inputs))
    said = [ask(model_of(package, rows=count, native=True), rows) for count in (1, asking.MANY)]
    np.testing.assert_allclose(said[0], said[1], rtol=0, atol=1e-9)
    alone = written(tmp_path / "alone", SGDClassifier(loss="log_loss", random_state=0), onnx=False)
    assert isinstance(model_of(alone, rows=1, native=False), PreparedModel)
    again = verify_package(package, candidates(package.model(), package.contents[PREPARATION]))
    assert {form: found["passed"] for form, found in again.items()} == {"onnx": True, "preparation": True}


def test_a_preparation_of_another_model_does_not_pass_the_gate() -> None:
    pipeline, signature, profile, preparation = fitted(Ridge(), dense=True)
    changed = replace(
        preparation,
        columns=tuple(
            replace(plan, center=plan.center + 0.01) if plan.name == "size" else plan
            for plan in preparation.columns
        ),
    )
    exports = exports_of(
        pipeline, signature, profile, further=candidates(pipeline, write_preparation(changed))
    )
    assert PREPARATION not in exports.files
    assert not exports.gates["preparation"]["passed"]
    assert exports.gates["preparation"]["worst"]["row"]["size"] is not None
    assert f"has no {PREPARATION}" in exports.notes[-1]


def test_labels_without_probabilities_are_left_to_the_pipeline(tmp_path: Path) -> None:
    package = written(tmp_path / "model", Perceptron())
    assert read_preparation(package) is None
    assert isinstance(model_of(package, rows=10**9, native=False), PipelineModel)
