from __future__ import annotations

import pickle
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import MiniBatchKMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    Lasso,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from xgboost import XGBClassifier, XGBRegressor

from headrace.errors import InputError, PackageError
from headrace.packaging.exports import onnx_file
from headrace.packaging.exports.files import export_file, exports_of, verify_package
from headrace.packaging.exports.gate import export_onnx
from headrace.packaging.exports.onnx_file import OnnxModel, write_onnx
from headrace.packaging.exports.rows import hard_rows
from headrace.packaging.inputs import to_frame, to_table
from headrace.packaging.package import read_package, write_package
from headrace.packaging.signature import InputColumn, Signature
from headrace.preparation.datetimes import DatetimeParts
from headrace.preparation.fitted import build_transformer, fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.preparation.times import PARTS
from headrace.profiling.profile import Profile, profile_table

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("onnxruntime")

PREPARATIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "clipped": {"numeric": {"clip": {"method": "iqr"}, "scale": "minmax", "impute": "median"}},
    "robust": {"numeric": {"scale": "robust", "impute": "constant", "fill_value": -1.0}},
    "unscaled": {"numeric": {"scale": "none", "clip": {"method": "zscore"}}},
    "ordinal": {"categorical": {"encode": "ordinal", "missing": "most_frequent"}},
    "rare": {"categorical": {"max_categories": 4, "min_frequency": 20}},
    "codes": {"columns": {"code": {"encode": "one_hot", "min_frequency": 30}}},
    "all times": {"datetime": {"parts": list(PARTS)}},
}


def table(rows: int = 600, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    gap = rng.random(rows) < 0.1
    seconds = rng.integers(-2_000_000_000, 4_000_000_000, rows)
    return pa.table(
        {
            "size": pa.array(rng.lognormal(0, 2, rows), mask=gap),
            "whole": pa.array(rng.integers(-5, 50, rows)),
            "flag": pa.array(rng.random(rows) < 0.3, mask=rng.random(rows) < 0.05),
            "city": pa.array(
                rng.choice(["é", "b", "", "d", "missing", "rare"], rows, p=[0.4, 0.2, 0.2, 0.1, 0.09, 0.01]),
                mask=rng.random(rows) < 0.1,
            ),
            "code": pa.array(
                rng.choice([1.0, 2.5, 7.0, 9.0], rows, p=[0.5, 0.3, 0.17, 0.03]), mask=rng.random(rows) < 0.1
            ),
            "at": pa.array(seconds.astype("datetime64[s]").astype("datetime64[us]"), mask=gap),
        }
    )


def signature(profile: Profile, task: str, classes: tuple[Any, ...]) -> Signature:
    inputs = tuple(InputColumn(name, column.type, column.kind) for name, column in profile.columns.items())
    return Signature(inputs, task, "y", classes)


def fitted(
    estimator: Any, options: dict[str, Any] | None = None, classes: int = 2
) -> tuple[Pipeline, Signature, Profile]:
    data = table()
    profile = profile_table(data)["all"]
    preparation = fit_preparation(profile, PrepareOptions(**(options or {})), features=list(profile.columns))
    transformer = build_transformer(preparation, dense=True)
    task = {"classifier": "classification", "regressor": "regression", "clusterer": "clustering"}[
        estimator.__sklearn_tags__().estimator_type
    ]
    shape = signature(profile, task, tuple(range(classes)) if task == "classification" else ())
    X = transformer.transform(to_frame(to_table(data, shape.inputs)))
    score = X[:, 0] + X[:, -1] + np.random.default_rng(1).normal(size=len(X))
    y = (
        np.abs(score)
        if task == "regression"
        else np.digitize(score, np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1]))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(X) if task == "clustering" else estimator.fit(X, y)
    return Pipeline([("prepare", transformer), ("model", estimator)]), shape, profile


@pytest.mark.parametrize("options", PREPARATIONS.values(), ids=PREPARATIONS)
def test_each_preparation_says_in_onnx_what_it_says_in_scikit_learn(options: dict[str, Any]):
    pipeline, shape, profile = fitted(SGDClassifier(loss="log_loss", random_state=0), options)
    content, result = export_onnx(pipeline, shape, profile, table(300, seed=5))
    assert content is not None, result
    assert result.precision == "float64"
    assert result.largest_difference < 1e-12
    assert result.rows == result.drawn + 300


def test_an_export_that_is_asked_about_a_few_rows_at_a_time_is_judged_alike(monkeypatch: pytest.MonkeyPatch):
    pipeline, shape, profile = fitted(SGDClassifier(loss="log_loss", random_state=0))
    sample = table(300, seed=5)
    at_once = export_onnx(pipeline, shape, profile, sample)
    monkeypatch.setattr(onnx_file, "CELLS", 7 * len(shape.inputs))
    assert export_onnx(pipeline, shape, profile, sample) == at_once


BOTH: list[tuple[str, Any]] = [
    ("l", LogisticRegression(max_iter=20)),
    ("s", SGDClassifier(loss="log_loss", random_state=0)),
]
ESTIMATORS: dict[str, tuple[Any, int]] = {
    "boosted": (XGBClassifier(n_estimators=20, max_depth=4), 2),
    "boosted of three classes": (XGBClassifier(n_estimators=7, max_depth=3), 3),
    "forests boosted": (
        XGBClassifier(n_estimators=4, max_depth=3, num_parallel_tree=3, subsample=0.5, random_state=0),
        3,
    ),
    "boosted regressor": (XGBRegressor(n_estimators=20, max_depth=3), 0),
    "boosted counts": (XGBRegressor(n_estimators=9, max_depth=3, objective="count:poisson"), 0),
    "logistic": (LogisticRegression(), 2),
    "multinomial": (LogisticRegression(max_iter=20), 3),
    "sgd of three classes": (SGDClassifier(loss="log_loss", random_state=0), 3),
    "sgd regressor": (SGDRegressor(random_state=0), 0),
    "ridge": (Ridge(), 0),
    "lasso": (Lasso(alpha=0.1), 0),
    "poisson": (PoissonRegressor(), 0),
    "naive bayes": (GaussianNB(), 3),
    "network": (MLPClassifier((5,), max_iter=20, random_state=0), 3),
    "forest": (RandomForestRegressor(5, random_state=0), 0),
    "Platt": (CalibratedClassifierCV(LogisticRegression(), ensemble=False), 2),
    "Platt of trees": (CalibratedClassifierCV(XGBClassifier(n_estimators=5), ensemble=False), 2),
    "isotonic": (CalibratedClassifierCV(LogisticRegression(), method="isotonic", ensemble=False), 2),
    "isotonic of a network": (
        CalibratedClassifierCV(
            MLPClassifier((5,), max_iter=20, random_state=0), method="isotonic", ensemble=False
        ),
        2,
    ),
    "average": (VotingClassifier([*BOTH, ("g", GaussianNB())], voting="soft", weights=[0.2, 0.7, 0.1]), 3),
    "average with trees": (
        VotingClassifier(
            [*BOTH, ("t", XGBClassifier(n_estimators=9, max_depth=3))], voting="soft", weights=[2, 1, 1]
        ),
        2,
    ),
    "average of numbers": (
        VotingRegressor(
            [("r", Ridge()), ("t", XGBRegressor(n_estimators=9, max_depth=3))], weights=[0.6, 0.4]
        ),
        0,
    ),
    "stack": (StackingClassifier(BOTH, cv=2), 2),
    "stack of three classes": (StackingClassifier(BOTH, cv=2), 3),
    "stack of numbers": (StackingRegressor([("r", Ridge()), ("s", SGDRegressor(random_state=0))], cv=2), 0),
    "threshold": (FixedThresholdClassifier(GaussianNB(), threshold=0.3), 2),
    "clusters": (MiniBatchKMeans(3, random_state=0, n_init=1), 0),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_each_estimator_says_in_onnx_what_it_says_in_scikit_learn(name: str):
    estimator, classes = ESTIMATORS[name]
    pipeline, shape, profile = fitted(estimator, classes=classes)
    content, result = export_onnx(pipeline, shape, profile)
    assert content is not None, result
    assert result.passed


def test_boosted_trees_take_missing_numbers_down_the_same_branch():
    pipeline, shape, profile = fitted(
        XGBClassifier(n_estimators=20, max_depth=4),
        {"numeric": {"impute": "none", "scale": "none", "clip": None}},
    )
    content, result = export_onnx(pipeline, shape, profile, table(300, seed=6))
    assert content is not None, result
    assert result.precision == "float32"
    assert result.largest_difference < 1e-6


def test_trees_of_several_outputs_each_are_refused_in_one_line():
    pipeline, shape, profile = fitted(
        XGBClassifier(n_estimators=2, max_depth=2, multi_strategy="multi_output_tree"), classes=3
    )
    content, result = export_onnx(pipeline, shape, profile)
    assert content is None
    assert "trees that add to several outputs each have no converter" in result.reason
    assert "one_output_per_tree" in result.reason
    assert "\n" not in result.reason


def test_steps_that_are_not_ours_are_left_to_sklearn_onnx():
    pipeline, shape, profile = fitted(SGDClassifier(loss="log_loss", random_state=0))
    X = pipeline[0].transform(to_frame(to_table(table(), shape.inputs)))
    pca = PCA(3).fit(X)
    model = SGDClassifier(loss="log_loss", random_state=0).fit(pca.transform(X), X[:, 0] > 0)
    longer = Pipeline([("prepare", pipeline[0]), ("reduce", pca), ("model", model)])
    content, result = export_onnx(longer, shape, profile)
    assert content is not None, result


def test_a_model_that_differs_is_refused_and_the_worst_row_named(tmp_path: Path):
    pipeline, shape, profile = fitted(SGDClassifier(loss="log_loss", random_state=0))
    content = write_onnx(pipeline, shape)
    write(tmp_path / "m", pipeline, shape, profile, content)
    good = read_package(tmp_path / "m")
    assert verify_package(good)["onnx"]["passed"]
    pipeline[1].coef_[0, 0] += 0.5
    write(tmp_path / "n", pipeline, shape, profile, content)
    result = verify_package(read_package(tmp_path / "n"))["onnx"]
    assert not result["passed"]
    assert set(result["worst"]["row"]) == {column.name for column in shape.inputs}


def test_a_model_without_probabilities_has_no_onnx_file_and_says_why(tmp_path: Path):
    pipeline, shape, profile = fitted(Perceptron())
    content, result = export_onnx(pipeline, shape, profile)
    assert content is None
    assert "Perceptron gives no probabilities" in result.reason
    write(tmp_path / "m", pipeline, shape, profile, None)
    with pytest.raises(PackageError, match="Perceptron gives no probabilities"):
        export_file(read_package(tmp_path / "m"), str(tmp_path / "out"), "onnx")
    assert not (tmp_path / "out").exists()


def test_an_estimator_that_the_library_does_not_know_is_refused_in_one_line():
    class Odd(HistGradientBoostingClassifier):  # type: ignore[misc]  # scikit-learn ships no types
        pass

    pipeline, shape, profile = fitted(Odd(max_iter=2))
    content, result = export_onnx(pipeline, shape, profile)
    assert content is None
    assert "Odd has no converter" in result.reason
    assert "\n" not in result.reason


def test_a_feature_function_cannot_be_exported():
    pipeline, shape, _ = fitted(GaussianNB())
    with pytest.raises(PackageError, match="feature function"):
        write_onnx(pipeline, Signature(shape.inputs, shape.task, "y", shape.classes, "m:f"))


def test_times_have_the_same_parts_in_both():
    rng = np.random.default_rng(0)
    moments = rng.integers(-60_000_000_000, 250_000_000_000, 4000) * 1_000_000 + rng.integers(0, 10**6, 4000)
    column = pa.array(moments.astype("datetime64[us]"), mask=rng.random(4000) < 0.05)
    data = pa.table({"at": column})
    shape = Signature((InputColumn("at", "timestamp[us]", "datetime"),), "regression", "y")
    frame = to_frame(to_table(data, shape.inputs))
    parts = DatetimeParts(parts=PARTS).fit(frame)
    for part in range(len(PARTS)):
        weights = np.eye(len(PARTS))[part]
        from sklearn.impute import SimpleImputer

        columns = ColumnTransformer(
            [
                (
                    "at",
                    Pipeline(
                        [("take", parts), ("fill", SimpleImputer(strategy="constant", fill_value=-7.0))]
                    ),
                    ["at"],
                )
            ]
        ).fit(frame)
        model = Ridge()
        model.coef_, model.intercept_, model.n_features_in_ = weights, 0.0, len(PARTS)
        pipeline = Pipeline([("prepare", columns), ("model", model)])
        said = OnnxModel(write_onnx(pipeline, shape), shape).ask(to_table(data, shape.inputs))
        np.testing.assert_array_equal(said, pipeline.predict(frame), err_msg=PARTS[part])


def test_rows_of_the_gate_try_neighbours_of_quantiles_unseen_and_missing_values():
    profile = profile_table(table())["all"]
    shape = signature(profile, "classification", (0, 1))
    rows = hard_rows(profile, shape)
    values = set(rows.column("size").to_pylist())
    median = float(profile.columns["size"].quantile(0.5))
    assert {median, float(np.nextafter(median, np.inf)), float(np.nextafter(median, -np.inf)), None} <= values
    cities = rows.column("city").to_pylist()
    assert "é~unseen" in cities
    assert {"", "日本語", None} <= set(cities)
    for name in rows.schema.names:
        assert rows.column(name).null_count, name
    assert hard_rows(profile, shape).equals(rows)


def test_of_very_many_columns_several_are_tried_in_one_row(monkeypatch: pytest.MonkeyPatch):
    numbers = np.random.default_rng(0).normal(size=(500, 40))
    profile = profile_table(pa.table({f"x{i}": numbers[:, i] for i in range(40)}))["all"]
    shape = Signature(tuple(InputColumn(name, "double", "numeric") for name in profile.columns), "regression")
    one_by_one = hard_rows(profile, shape)
    monkeypatch.setattr("headrace.packaging.exports.rows.CELLS", 20_000)
    together = hard_rows(profile, shape)
    assert together.num_rows < one_by_one.num_rows / 5
    for name in profile.columns:  # every edge is tried all the same
        assert set(one_by_one.column(name).to_pylist()) == set(together.column(name).to_pylist())


def test_of_very_many_columns_onnx_is_written_on_demand_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pipeline, shape, profile = fitted(LogisticRegression())
    monkeypatch.setattr("headrace.packaging.exports.files.MOST_INPUTS", len(shape.inputs) - 1)
    exports = exports_of(pipeline, shape, profile)
    assert not exports.files
    assert "headrace models export" in exports.notes[0]
    write(tmp_path / "m", pipeline, shape, profile, None)
    _, result = export_file(read_package(tmp_path / "m"), str(tmp_path / "out"), "onnx")
    assert result is not None
    assert result["passed"]


def test_a_pickle_is_written_only_when_allowed(tmp_path: Path):
    pipeline, shape, profile = fitted(GaussianNB())
    write(tmp_path / "m", pipeline, shape, profile, None)
    package = read_package(tmp_path / "m")
    with pytest.raises(InputError, match="--allow-pickle"):
        export_file(package, str(tmp_path), "pickle")
    path, _ = export_file(package, str(tmp_path), "pickle", allow_pickle=True)
    from pathlib import Path as LocalPath

    loaded = pickle.loads(LocalPath(path).read_bytes())
    frame = to_frame(to_table(table(50), shape.inputs))
    np.testing.assert_array_equal(loaded.predict(frame), pipeline.predict(frame))
    with pytest.raises(InputError, match="use one of onnx, pmml, skops, pickle"):
        export_file(package, str(tmp_path), "joblib")


def write(place: Path, pipeline: Pipeline, shape: Signature, profile: Profile, content: bytes | None) -> None:
    write_package(
        place,
        pipeline=pipeline,
        signature=shape,
        profile=profile.to_dict(),
        metrics={"rows": 1, "metrics": {}, "slices": {}},
        provenance={},
        card={"name": "m"},
        exports={} if content is None else {"model.onnx": content},
        gates={} if content is None else {"onnx": {"precision": "float64"}},
    )
