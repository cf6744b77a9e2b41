from __future__ import annotations

import io
import json
import os
import pickle
import warnings
import zipfile
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from headrace.errors import PackageError
from headrace.packaging.package import read_package
from headrace.packaging.trust import TRUSTED, dump_pipeline, load_pipeline, needed_trust
from headrace.preparation.recipes import RecipePlan, Step
from headrace.preparation.steps import build_recipe
from headrace.training.calibration import Answers, calibration
from headrace.training.ensembles import Blend, combined

FILL = Step("fill", {"values": [0.0]})
LINE = {"mean": [0.0, 0.0], "slopes": [[0.0, 1.0], [1.0, 0.0]], "rounds": 2}
RECIPES = (
    RecipePlan("a", "numeric", ("x", "y"), (Step("derive", {"text": "1 + x / y", "times": False}),), (), 1),
    RecipePlan("b", "numeric", ("x", "y"), (Step("derive", {"text": "x - y", "times": False}),), (), 1),
    RecipePlan("c", "numeric", ("x", "y"), (Step("fill_by_regression", LINE),), (), 1),
    RecipePlan("d", "numeric", ("x",), (FILL, Step("clip", {"low": 0.0, "high": None})), (), 1),
    RecipePlan(
        "e",
        "numeric",
        ("x",),
        (FILL, Step("spline", {"knots": [0.0, 1.0], "degree": 3, "outside": "constant"})),
        (),
        1,
    ),
    RecipePlan("f", "string", ("x",), (Step("fill_words"), Step("flat")), (), 1),
)
"""Every sort of step for which a type is trusted."""


class Bomb:
    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (self.target,)


def own_function(X):
    return X


def test_written_model_predicts_the_same(kind, fitted, frame):
    pipeline = fitted(kind)
    again = load_pipeline(dump_pipeline(pipeline), where="x")
    np.testing.assert_array_equal(again.predict(frame), pipeline.predict(frame))


def test_bytes_hold_no_time_and_no_address(fitted):
    with zipfile.ZipFile(io.BytesIO(dump_pipeline(fitted("mlp-classifier")))) as archive:
        names = archive.namelist()
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert names == sorted(names)
        schema = archive.read("schema.json").decode()
    assert str(id(fitted("mlp-classifier"))) not in schema


def test_shared_objects_stay_shared(fresh):
    pipeline = fresh("sgd-classifier")
    shared = pipeline[-1].coef_
    pipeline[-1].copy_ = shared
    again = load_pipeline(dump_pipeline(pipeline), where="x")
    assert again[-1].copy_ is again[-1].coef_


def test_every_trusted_type_has_a_reason_and_skops_does_not_trust_it_itself(fitted):
    assert all(len(reason) > 10 for reason in TRUSTED.values())
    needed = {
        name for kind in ("mlp-classifier", "mlp-sgd") for name in needed_trust(skops.io.dumps(fitted(kind)))
    }
    for plan in RECIPES:
        needed |= set(needed_trust(skops.io.dumps(build_recipe(plan))))
    score = np.linspace(-2.0, 2.0, 40)
    answers = Answers(score, None, np.tile([0, 1], 20), None)
    needed |= set(needed_trust(skops.io.dumps(calibration(answers, "sigmoid"))))
    members = {name: GaussianNB().fit([[0.0], [1.0]], [0, 1]) for name in ("a", "b")}
    vote = combined(Blend(("a", "b"), (0.5, 0.5)), members, (0, 1))
    needed |= set(needed_trust(skops.io.dumps(vote)))
    assert needed <= set(TRUSTED)
    # Boosted trees need an extra, and are written in tests of their own.
    assert {name for name in TRUSTED if not name.startswith(("headrace.", "xgboost."))} <= needed


@pytest.mark.parametrize("function", [os.system, own_function, eval, np.load])
def test_an_untrusted_function_is_refused_by_name(function):
    hostile = skops.io.dumps(make_pipeline(FunctionTransformer(function)))
    with pytest.raises(PackageError, match=function.__name__) as caught:
        load_pipeline(hostile, where="late/1/pipeline.skops")
    assert "not trusted" in str(caught.value)
    assert caught.value.where == "late/1/pipeline.skops"


def test_a_model_that_could_not_be_loaded_is_not_written():
    with pytest.raises(PackageError, match="own_function"):
        dump_pipeline(make_pipeline(FunctionTransformer(own_function)))


def test_a_lambda_is_told_in_one_line():
    with pytest.raises(PackageError) as caught:
        dump_pipeline(make_pipeline(FunctionTransformer(lambda X: X)))
    assert "\n" not in str(caught.value)


def test_a_pickle_in_place_of_the_model_never_runs(tmp_path):
    target = tmp_path / "ran"
    hostile = pickle.dumps(Bomb(str(target)))
    with pytest.raises(PackageError, match="not a skops file"):
        load_pipeline(hostile, where="pipeline.skops")
    assert not target.exists()
    pickle.loads(hostile)
    assert target.exists(), "the bomb is real"


def test_a_pickle_inside_the_zip_never_runs(tmp_path, fitted):
    target = tmp_path / "ran"
    with zipfile.ZipFile(io.BytesIO(dump_pipeline(fitted("sgd-classifier")))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            array = io.BytesIO()
            np.save(array, np.array([Bomb(str(target))], dtype=object), allow_pickle=True)
            archive.writestr(name, array.getvalue() if name.endswith(".npy") else content)
    with pytest.raises(PackageError):
        load_pipeline(buffer.getvalue(), where="pipeline.skops")
    assert not target.exists()


def test_a_trusted_list_inside_the_package_is_not_read(package, tmp_path, write_model):
    target = tmp_path / "ran"
    hostile = skops.io.dumps(make_pipeline(FunctionTransformer(os.mkdir, kw_args={"path": str(target)})))
    (package / "pipeline.skops").write_bytes(hostile)
    manifest = json.loads((package / "manifest.json").read_text())
    import hashlib

    manifest["files"]["pipeline.skops"] = {
        "sha256": hashlib.sha256(hostile).hexdigest(),
        "bytes": len(hostile),
    }
    manifest["trusted"] = ["posix.mkdir"]
    manifest["provenance"]["trusted"] = ["posix.mkdir"]
    (package / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match=r"posix\.mkdir"):
        read_package(package).model()
    assert not target.exists()


@pytest.mark.parametrize("cut", [0, 10, 500, -1])
def test_damaged_bytes_are_a_package_error(cut, fitted):
    content = dump_pipeline(fitted("sgd-classifier"))
    with warnings.catch_warnings(), pytest.raises(PackageError):
        load_pipeline(content[:cut], where="x")
