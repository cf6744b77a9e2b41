from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import SGDClassifier

from headrace.errors import InputError, PackageError
from headrace.packaging.model import Model, load
from headrace.packaging.package import read_package
from headrace.packaging.registry import Registry
from headrace.packaging.signature import InputColumn, Signature

FEATURES = """
def add(frame):
    frame["night"] = (frame["hour"] >= 22).astype("int8[pyarrow]")
    return frame[["night", "distance", "delay", "carrier"]]

def fail(frame):
    return frame["no such column"]

def filter(frame):
    return frame[frame["hour"] > 100]
"""


@pytest.fixture
def model(package):
    return Model(read_package(package))


@pytest.fixture
def functions(tmp_path, monkeypatch):
    (tmp_path / "headrace_test_features.py").write_text(FEATURES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield "headrace_test_features"
    sys.modules.pop("headrace_test_features", None)


def test_predicts_what_the_pipeline_predicts(kind, fitted, frame, tmp_path, write_model):
    pipeline = fitted(kind)
    classes = (0, 1) if hasattr(pipeline, "classes_") else ()
    write_model(tmp_path / "m", pipeline, signature=Signature(_inputs(), "classification", "late", classes))
    model = load(tmp_path / "m")
    np.testing.assert_array_equal(model.predict(frame), pipeline.predict(frame))
    if hasattr(pipeline, "predict_proba"):
        np.testing.assert_array_equal(model.predict_proba(frame), pipeline.predict_proba(frame))
    else:
        with pytest.raises(InputError, match="no probabilities"):
            model.predict_proba(frame)


def _inputs() -> tuple[InputColumn, ...]:
    return (
        InputColumn("distance", "double", "numeric"),
        InputColumn("delay", "double", "numeric"),
        InputColumn("night", "bool", "boolean"),
        InputColumn("carrier", "string", "string"),
    )


def test_every_form_of_the_rows_predicts_alike(model, frame):
    expected = model.predict_proba(frame)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    coded = table.set_column(3, "carrier", table.column("carrier").dictionary_encode())
    for form in (
        table,
        coded,
        table.to_pylist(),
        table.to_pydict(),
        frame.assign(extra=object()),
        frame[::-1][::-1],
    ):
        np.testing.assert_array_equal(model.predict_proba(form), expected)
    shuffled = frame[["carrier", "night", "distance", "delay"]]
    np.testing.assert_array_equal(model.predict_proba(shuffled), expected)


def test_unseen_and_missing_values_are_predicted(model):
    rows = [
        {"distance": None, "delay": 1, "night": True, "carrier": "never seen"},
        {"distance": float("nan"), "delay": 1, "night": None, "carrier": None},
    ]
    with pytest.raises(InputError, match="the model cannot be given these rows"):
        model.predict(rows)  # `night` is passed through unimputed and the classifier refuses NaN
    assert model.predict(rows[:1]).shape == (1,)


def test_no_rows_give_no_predictions(model, frame):
    assert model.predict(frame[:0]).shape == (0,)
    assert model.predict_proba(frame[:0]).shape == (0, 2)
    assert model.predict({"distance": [], "delay": [], "night": [], "carrier": []}).shape == (0,)


def test_a_missing_column_is_named(model, frame):
    with pytest.raises(InputError, match="missing column: carrier"):
        model.predict(frame.drop(columns="carrier"))


def test_labels_come_back_when_the_pipeline_was_fitted_on_codes(tmp_path, fitted, frame, write_model):
    signature = Signature(_inputs(), "classification", "late", ("no", "yes"))
    write_model(tmp_path / "m", fitted("sgd-classifier"), signature=signature)
    expected = np.array(["no", "yes"])[fitted("sgd-classifier").predict(frame)]
    np.testing.assert_array_equal(load(tmp_path / "m").predict(frame), expected)


def test_labels_stay_when_the_pipeline_was_fitted_on_them(tmp_path, write_model):
    X = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
    pipeline = SGDClassifier(random_state=0).fit(X, ["no", "no", "yes", "yes"])
    signature = Signature((InputColumn("x", "double", "numeric"),), "classification", "y", ("no", "yes"))
    write_model(tmp_path / "m", pipeline, signature=signature)
    np.testing.assert_array_equal(load(tmp_path / "m").predict(X), pipeline.predict(X))


def test_a_feature_function_makes_the_inputs(tmp_path, fitted, frame, write_model, functions):
    signature = Signature(
        _inputs(),
        "classification",
        "late",
        (0, 1),
        f"{functions}:add",
        (InputColumn("hour", "int64", "numeric"),),
    )
    write_model(tmp_path / "m", fitted("sgd-classifier"), signature=signature)
    raw = frame.drop(columns="night").assign(hour=np.arange(len(frame)) % 24)
    expected = fitted("sgd-classifier").predict(frame.assign(night=(raw["hour"] >= 22).astype(float)))
    model = load(tmp_path / "m", features=f"{functions}:add")
    np.testing.assert_array_equal(model.predict(raw), expected)
    rows = raw.astype(object).where(raw.notna(), None).to_dict("records")
    np.testing.assert_array_equal(model.predict(rows), expected)
    with pytest.raises(InputError, match="missing column: hour"):
        model.predict(frame)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("no_such_module_of_anyone:add", "no_such_module_of_anyone"),
        ("headrace_test_features:nothing", "nothing"),
        ("headrace_test_features:fail", "failed"),
        ("headrace_test_features:filter", "rows"),
        ("headrace_test_features", "module:function"),
    ],
)
def test_a_feature_function_that_cannot_be_used(
    tmp_path, fitted, frame, write_model, functions, function, said
):
    signature = Signature(_inputs(), "classification", "late", (0, 1), function)
    write_model(tmp_path / "m", fitted("naive-bayes"), signature=signature)
    with pytest.raises(InputError, match=said):
        load(tmp_path / "m", features=function).predict(frame.assign(hour=1))


def test_a_package_cannot_choose_the_function_that_is_called(tmp_path, fitted, write_model):
    ran = tmp_path / "ran"
    names = ("mkdir", str(ran))
    raw = tuple(InputColumn(name, "int64", "numeric") for name in names)
    signature = Signature(_inputs(), "classification", "late", (0, 1), "subprocess:call", raw)
    write_model(tmp_path / "m", fitted("naive-bayes"), signature=signature)
    for trusted in (None, "my_features:add"):
        with pytest.raises(PackageError, match=r"calls the function 'subprocess:call'.*name it"):
            load(tmp_path / "m", features=trusted)
    assert not ran.exists()
    with pytest.raises(InputError, match="feature function"):
        load(tmp_path / "m", features="subprocess:call").predict([dict.fromkeys(names, 1)])
    assert ran.exists(), "the attack is real"


def test_load_by_name_path_and_alias(package, tmp_path, monkeypatch, frame):
    registry = Registry(tmp_path / "registry")
    registry.publish("late", package)
    expected = load(package).predict(frame)
    monkeypatch.chdir(tmp_path)
    for reference in ("late", "late@1", "late@champion", "registry/late/1", "model", str(package)):
        np.testing.assert_array_equal(load(reference).predict(frame), expected)
    assert load("late", registry=registry.url).url.endswith("/late/1")
    with pytest.raises(InputError, match="no model 'later'"):
        load("later")
    with pytest.raises(PackageError, match="not a model package"):
        load("runs/nothing")


def test_shows_itself_without_bringing_in_html(package, fitted, write_model, tmp_path):
    hostile = Signature(_inputs(), "classification", "<script>alert(1)</script>", ("<b>", "b"))
    write_model(tmp_path / "m", fitted("naive-bayes"), signature=hostile)
    shown = load(tmp_path / "m")._repr_html_()
    assert "<script" not in shown
    assert "<b>" not in shown
    assert "roc_auc 0.731" in shown
    assert "model_sha256" in repr(load(package))
