from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.errors import InputError, PackageError
from headrace.packaging.model import Model
from headrace.serving.feeds import feeds_of_columns, feeds_of_rows, feeds_of_table
from headrace.serving.options import GuardOptions
from headrace.serving.predictor import Predictor

from .conftest import training_rows  # the rows that the packages were made from

if TYPE_CHECKING:
    from headrace.packaging.package import Package

ROW: dict[str, Any] = {"size": 9.5, "count": 3, "flag": True, "city": "Oslo", "at": "2013-10-01T17:30:00"}


@pytest.fixture(params=["onnx", "plain"])
def package(request: pytest.FixtureRequest, packages: dict[str, Package]) -> Package:
    return packages[request.param]


def test_both_runtimes_say_what_the_loaded_model_says(packages: dict[str, Package]):
    rows = training_rows(100, seed=3)
    expected = Model(packages["plain"]).predict_proba(rows)
    runtimes = set()
    for package in packages.values():
        predictor = Predictor(package)
        runtimes.add(predictor.runtime)
        answer = predictor.answer(feeds_of_table(rows, predictor.signature.inputs))
        np.testing.assert_allclose(answer.outputs, expected, atol=1e-12)
        assert answer.labels.tolist() == Model(package).predict(rows).tolist()
    assert runtimes == {"onnxruntime", "scikit-learn"}


def test_rows_columns_and_tables_give_the_same_answer(package: Package):
    rows = training_rows(50, seed=4)
    inputs = Predictor(package).signature.inputs
    values = [
        {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
        for row in rows.to_pylist()
    ]
    by_rows = feeds_of_rows(values, inputs)
    by_columns = feeds_of_columns({name: [row[name] for row in values] for name in values[0]}, inputs)
    by_table = feeds_of_table(rows, inputs)
    for name, tensor in by_table.items():
        np.testing.assert_array_equal(by_rows[name], tensor)
        np.testing.assert_array_equal(by_columns[name], tensor)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("size", "9", "row 0: size: '9' is not a finite number"),
        ("size", 10**400, "is not a finite number"),
        ("size", float("inf"), "is not a finite number"),
        ("size", [1], "row 0: size: [1] is not a finite number"),
        ("city", 1.5, "row 0: city: 1.5 is not text"),
        ("city", "\ud800", "is not text"),
        ("flag", "true", "is not true or false"),
        ("at", 3, "row 0: at: 3 is not a time"),
        ("at", "yesterday", "is not a time"),
    ],
)
def test_a_value_of_another_type_is_refused_with_row_and_column(
    package: Package, column: str, value: Any, said: str
):
    with pytest.raises(InputError) as caught:
        feeds_of_rows([{**ROW, column: value}], Predictor(package).signature.inputs)
    assert said in str(caught.value)


def test_a_column_may_be_left_out_only_when_training_had_missing_values(package: Package):
    inputs = Predictor(package).signature.inputs
    without = {name: value for name, value in ROW.items() if name != "size"}
    assert np.isnan(feeds_of_rows([without], inputs)["size"][0, 0])
    with pytest.raises(InputError, match="row 0: missing column: city"):
        feeds_of_rows([{name: value for name, value in ROW.items() if name != "city"}], inputs)
    with pytest.raises(InputError, match="missing column: city"):
        feeds_of_columns({"size": [1.0], "count": [1], "flag": [True], "at": ["2013-01-01"]}, inputs)
    with pytest.raises(InputError, match="differ in length"):
        feeds_of_columns({"size": [1.0], "count": [1, 2]}, inputs)


def test_the_guard_flags_what_training_has_not_seen(package: Package):
    predictor = Predictor(package)
    odd = {**ROW, "size": 1e6, "city": "Atlantis", "count": None, "at": "2031-01-01T00:00:00Z"}
    answer = predictor.answer(feeds_of_rows([ROW, odd], predictor.signature.inputs))
    found = {(finding.column, finding.check): finding.rows.tolist() for finding in answer.findings}
    assert found == {
        ("size", "range"): [1],
        ("city", "category"): [1],
        ("count", "missing"): [1],
        ("at", "range"): [1],
    }
    assert not answer.rejected.any()
    assert predictor.guard.counts["city", "category"] == 1


def test_a_rejected_row_is_marked_and_the_others_answered(package: Package):
    predictor = Predictor(package, GuardOptions(category="reject"))
    inputs = predictor.signature.inputs
    answer = predictor.answer(feeds_of_rows([ROW, {**ROW, "city": "Atlantis"}], inputs))
    assert answer.rejected.tolist() == [False, True]
    alone = Predictor(package).answer(feeds_of_rows([ROW], inputs))
    assert answer.outputs[0].tolist() == alone.outputs[0].tolist()


def test_a_clipped_row_is_answered_for_the_nearest_value_seen(package: Package):
    clip = Predictor(package, GuardOptions(range="clip", category="clip"))
    inputs = clip.signature.inputs
    highest = next(column.maximum for column in inputs if column.name == "size")
    far = clip.answer(feeds_of_rows([{**ROW, "size": 1e6}], inputs))
    edge = clip.answer(feeds_of_rows([{**ROW, "size": highest}], inputs))
    np.testing.assert_array_equal(far.outputs, edge.outputs)
    assert far.findings
    assert not edge.findings
    unseen = clip.answer(feeds_of_rows([{**ROW, "city": "Atlantis"}], inputs))
    missing = clip.answer(feeds_of_rows([{**ROW, "city": None}], inputs))
    np.testing.assert_array_equal(unseen.outputs, missing.outputs)


def test_what_the_pipeline_cannot_take_is_an_error_of_who_asks(
    packages: dict[str, Package], monkeypatch: pytest.MonkeyPatch
):
    predictor = Predictor(packages["plain"])

    def refuse(_: Any) -> Any:
        raise ValueError("Input X contains infinity\nor a value too large for dtype('float32').")

    monkeypatch.setattr(predictor._pipeline, "predict_proba", refuse)
    feeds = feeds_of_rows([ROW], predictor.signature.inputs)
    with pytest.raises(
        InputError, match=r"^body: the model cannot be given these rows: Input X contains infinity$"
    ):
        predictor.answer(feeds)


def test_no_rows_and_feature_functions_are_refused(package: Package):
    predictor = Predictor(package)
    with pytest.raises(InputError, match="there are no rows"):
        predictor.answer(feeds_of_rows([], predictor.signature.inputs))
    signature = dataclasses.replace(package.manifest.signature, features_function="m:f")
    manifest = dataclasses.replace(package.manifest, signature=signature)
    with pytest.raises(PackageError, match="feature function"):
        Predictor(dataclasses.replace(package, manifest=manifest))
