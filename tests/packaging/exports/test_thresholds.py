"""Rows part at the thresholds of trees, and an export that parts elsewhere is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.sparse import issparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor
from tests.packaging.exports.test_exports import fitted, write
from xgboost import XGBClassifier, XGBRegressor

from headrace.errors import PackageError
from headrace.packaging.exports import gate, thresholds
from headrace.packaging.exports.files import export_file, verify_package
from headrace.packaging.exports.gate import GateRows, compare, export_onnx, gate_rows
from headrace.packaging.exports.onnx_file import OnnxModel, write_onnx
from headrace.packaging.exports.rows import hard_rows
from headrace.packaging.exports.splits import trees_of
from headrace.packaging.exports.thresholds import threshold_rows
from headrace.packaging.inputs import to_frame
from headrace.packaging.package import read_package
from headrace.preparation.fitted import build_transformer, fit_preparation
from headrace.preparation.options import PrepareOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

    from headrace.packaging.signature import Signature
    from headrace.profiling.profile import Profile

TREES: dict[str, Any] = {"n_estimators": 6, "max_depth": 3, "n_jobs": 1}
PREPARATIONS: dict[str, dict[str, Any]] = {
    "standardised": {},
    "as it is": {"numeric": {"impute": "none", "scale": "none", "clip": None}},
    "clipped": {"numeric": {"clip": {"method": "iqr"}, "scale": "minmax"}},
    "curved": {"numeric": {"transform": "yeo_johnson"}},
}


@pytest.mark.parametrize("options", PREPARATIONS.values(), ids=PREPARATIONS)
def test_rows_hit_each_condition_from_both_sides(options: dict[str, Any]) -> None:
    pipeline, shape, profile = fitted(XGBClassifier(**TREES), options)
    rows = threshold_rows(pipeline, shape, hard_rows(profile, shape))
    booster = pipeline[-1].get_booster()
    X = pipeline[0].transform(to_frame(rows)).astype(np.float32)
    leaves = pipeline[-1].apply(X)
    splits = booster.trees_to_dataframe()
    of_size = pipeline[0].get_feature_names_out().tolist().index("size")
    conditions = splits.loc[splits["Feature"] == f"f{of_size}", "Split"].astype(np.float32).unique()
    at = [np.flatnonzero(X[:, of_size] == condition) for condition in conditions]
    below = [np.flatnonzero(X[:, of_size] == np.nextafter(each, np.float32(-np.inf))) for each in conditions]
    hit = [(a, b) for a, b in zip(at, below, strict=True) if len(a) and len(b)]
    assert len(hit) > len(conditions) / 2
    # Such rows differ in nothing else, and yet end in other leaves.
    for a, b in hit:
        assert any((leaves[i] != leaves[j]).any() for i in a for j in b)
    assert threshold_rows(pipeline, shape, hard_rows(profile, shape)).equals(rows)


def test_rows_are_few_of_many_splits_and_spread_over_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, shape, profile = fitted(XGBRegressor(n_estimators=60, max_depth=4, n_jobs=1))
    monkeypatch.setattr(thresholds, "MOST", 20)
    hard = hard_rows(profile, shape)
    rows = threshold_rows(pipeline, shape, hard)
    assert 60 < rows.num_rows <= 120
    for name in ("size", "whole"):
        drawn = set(rows.column(name).to_pylist()) - set(hard.column(name).to_pylist())
        assert len(drawn) > 10, name


@pytest.mark.parametrize(
    ("estimator", "some"),
    [
        (Ridge(), False),
        (XGBRegressor(booster="gblinear", n_estimators=2), False),
        (XGBRegressor(n_estimators=2, gamma=1e9), False),
        (VotingRegressor([("r", Ridge()), ("t", XGBRegressor(**TREES))]), True),
        (CalibratedClassifierCV(XGBClassifier(**TREES), cv=2), True),
        (HistGradientBoostingRegressor(max_iter=3), False),
        (BaggingRegressor(DecisionTreeRegressor(max_depth=3), 3, max_features=5), False),
        (StackingRegressor([("t", DecisionTreeRegressor(max_depth=3))], DecisionTreeRegressor(), cv=2), True),
    ],
    ids=[
        "linear",
        "boosted lines",
        "no splits",
        "a member",
        "calibrated",
        "by histograms",
        "on some features",
        "a stack",
    ],
)
def test_trees_are_found_wherever_they_take_the_features(estimator: Any, some: bool) -> None:
    pipeline, shape, profile = fitted(estimator)
    rows = threshold_rows(pipeline, shape, hard_rows(profile, shape))
    assert (rows.num_rows > 0) == some


FOREST: dict[str, Any] = {"n_estimators": 8, "max_depth": 4, "random_state": 0}
GROWN: dict[str, Any] = {
    "tree": DecisionTreeRegressor(max_depth=6, random_state=0),
    "tree of classes": DecisionTreeClassifier(max_depth=6, random_state=0),
    "forest": RandomForestClassifier(**FOREST),
    "random splits": ExtraTreesRegressor(**FOREST),
    "boosted": GradientBoostingClassifier(**FOREST),
    "bagged": BaggingRegressor(DecisionTreeRegressor(max_depth=4), 4, random_state=0),
    "reweighted": AdaBoostRegressor(DecisionTreeRegressor(max_depth=4), n_estimators=4, random_state=0),
    "calibrated": CalibratedClassifierCV(RandomForestClassifier(**FOREST), cv=2),
    "averaged": VotingRegressor([("e", ExtraTreesRegressor(**FOREST)), ("r", Ridge())]),
}


@pytest.mark.parametrize("estimator", GROWN.values(), ids=GROWN)
def test_rows_hit_thresholds_of_scikit_learn_from_both_sides(estimator: Any) -> None:
    pipeline, shape, profile = fitted(estimator)
    rows = threshold_rows(pipeline, shape, hard_rows(profile, shape))
    X = pipeline[0].transform(to_frame(rows))
    names = pipeline[0].get_feature_names_out().tolist()
    rounded = X.astype(np.float32)
    met = {split for tree in trees_of(estimator) for row in rounded for split in tree(row)}
    hit = 0
    for feature, border in met:
        if names[feature] in {"size", "whole"}:
            last = np.float32(border)
            last = last if float(last) <= border else np.nextafter(last, np.float32(-np.inf))
            beyond = np.nextafter(last, np.float32(np.inf))
            values = X[:, feature]
            gap = values[values > border].min(initial=np.inf) - values[values <= border].max(initial=-np.inf)
            hit += {last, beyond} <= set(rounded[:, feature]) and gap < (beyond - last) / 100
    assert hit > 2


def test_features_may_be_sparse() -> None:
    pipeline, shape, profile = fitted(RandomForestClassifier(**FOREST))
    rows = threshold_rows(pipeline, shape, hard_rows(profile, shape))
    options = PrepareOptions()
    preparation = fit_preparation(profile, options, features=list(profile.columns))
    sparse = Pipeline([("prepare", build_transformer(preparation)), pipeline.steps[1]])
    assert issparse(sparse[0].transform(to_frame(rows)))
    assert threshold_rows(sparse, shape, hard_rows(profile, shape)).equals(rows)


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "as scikit-learn": lambda values, thresholds: values.astype(np.float32) <= thresholds,
    "without rounding": lambda values, thresholds: values <= thresholds,
    "a threshold rounded up": lambda values, thresholds: (
        values.astype(np.float32) <= thresholds.astype(np.float32)
    ),
    "less": lambda values, thresholds: (
        np.nextafter(values.astype(np.float32), np.float32(np.inf)) <= thresholds
    ),
}


@dataclass
class Walked:
    """A tree of scikit-learn that is gone through in another way."""

    pipeline: Pipeline
    goes_left: Callable[[Any, Any], Any]
    says: str = "prediction"

    def ask(self, table: pa.Table) -> Any:
        X, tree = self.pipeline[0].transform(to_frame(table)), self.pipeline[1].tree_
        at = np.zeros(len(X), dtype=int)
        while (tree.feature[at] >= 0).any():
            left = self.goes_left(X[np.arange(len(X)), tree.feature[at]], tree.threshold[at])
            below = np.where(left, tree.children_left[at], tree.children_right[at])
            at = np.where(tree.feature[at] >= 0, below, at)
        return tree.value[at, 0, 0]


@pytest.mark.parametrize("way", WAYS)
def test_a_tree_of_scikit_learn_that_parts_elsewhere_is_seen_by_these_rows_alone(way: str) -> None:
    pipeline, shape, profile = fitted(ExtraTreeRegressor(max_depth=6, random_state=0))
    rows = gate_rows(pipeline, shape, profile)
    assert compare(pipeline, Walked(pipeline, WAYS[way]), rows, "float64").passed == (
        way == "as scikit-learn"
    )
    others = rows.drawn - rows.at_thresholds
    of_profile = GateRows(rows.table.slice(0, others), others, 0)
    assert compare(pipeline, Walked(pipeline, WAYS[way]), of_profile, "float64").passed


@pytest.mark.parametrize("name", ["tree", "forest", "random splits", "boosted", "bagged", "averaged"])
def test_trees_of_scikit_learn_are_written_as_they_compare(name: str) -> None:
    pytest.importorskip("onnx")
    pipeline, shape, profile = fitted(GROWN[name])
    content, result = export_onnx(pipeline, shape, profile)
    assert content is not None, result
    assert result.precision == "float32"
    assert result.at_thresholds > 20
    assert result.largest_difference < 1e-6


def test_a_threshold_that_parts_missing_values_does_not_stop_the_export() -> None:
    """sklearn-onnx looks for ever for its float64."""
    pytest.importorskip("onnx")
    pipeline, shape, profile = fitted(
        RandomForestClassifier(8, max_depth=5, random_state=0), PREPARATIONS["as it is"]
    )
    assert any(np.isinf(tree.tree_.threshold).any() for tree in pipeline[-1].estimators_)
    assert threshold_rows(pipeline, shape, hard_rows(profile, shape)).num_rows > 0
    with pytest.raises(PackageError, match="RandomForestClassifier compares and is written as float32"):
        write_onnx(pipeline, shape, "float64")
    assert export_onnx(pipeline, shape, profile)[1].rows > 500


def test_a_border_in_the_middle_of_two_float32_is_left_to_them() -> None:
    one, next_one = 1.0, float(np.nextafter(np.float32(1), np.float32(2)))
    borders = np.array([[one, (one + next_one) / 2, 1 + 2.0**-40]])
    last, beyond, above = thresholds._limits(borders)
    np.testing.assert_array_equal(last, np.full((1, 3), one))
    np.testing.assert_array_equal(beyond, np.full((1, 3), next_one))
    np.testing.assert_array_equal(above, [[1 + 2.0**-52, np.nan, np.nextafter(1 + 2.0**-40, 2)]])


def test_features_that_are_no_function_of_one_column_are_left_out() -> None:
    pipeline, shape, profile = fitted(XGBRegressor(**TREES))
    longer = Pipeline([pipeline.steps[0], ("as it is", "passthrough"), pipeline.steps[1]])
    assert threshold_rows(longer, shape, hard_rows(profile, shape)).num_rows == 0


def less_or_equal(attributes: dict[str, Any], node: int) -> None:
    attributes["nodes_modes"].strings[node] = b"BRANCH_LEQ"


def one_float_up(attributes: dict[str, Any], node: int) -> None:
    values = attributes["nodes_values"].floats
    values[node] = float(np.nextafter(np.float32(values[node]), np.float32(np.inf)))


def one_float_down(attributes: dict[str, Any], node: int) -> None:
    values = attributes["nodes_values"].floats
    values[node] = float(np.nextafter(np.float32(values[node]), np.float32(-np.inf)))


@pytest.fixture(scope="module")
def boosted() -> tuple[Pipeline, Signature, Profile]:
    return fitted(XGBClassifier(**TREES))


def spoilt(pipeline: Pipeline, shape: Signature, spoil: Callable[[dict[str, Any], int], None]) -> bytes:
    """Write a pipeline as ONNX, one split by the column `size` changed."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(write_onnx(pipeline, shape, "float32"))
    (trees,) = [node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor"]
    attributes = {attribute.name: attribute for attribute in trees.attribute}
    splits = zip(attributes["nodes_modes"].strings, attributes["nodes_featureids"].ints, strict=True)
    size = pipeline[0].get_feature_names_out().tolist().index("size")
    spoil(attributes, list(splits).index((b"BRANCH_LT", size)))
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("spoil", [less_or_equal, one_float_up, one_float_down])
def test_one_split_that_parts_elsewhere_is_seen_by_these_rows_alone(
    spoil: Callable[[dict[str, Any], int], None], boosted: tuple[Pipeline, Signature, Profile]
) -> None:
    pipeline, shape, profile = boosted
    model = OnnxModel(spoilt(pipeline, shape, spoil), shape)
    rows = gate_rows(pipeline, shape, profile)
    result = compare(pipeline, model, rows, "float32")
    assert not result.passed
    assert (result.drawn, result.at_thresholds) == (rows.drawn, rows.at_thresholds)
    others = rows.drawn - rows.at_thresholds
    assert compare(pipeline, model, GateRows(rows.table.slice(0, others), others, 0), "float32").passed


def test_an_export_that_parts_elsewhere_is_refused_with_its_worst_row(
    boosted: tuple[Pipeline, Signature, Profile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, shape, profile = boosted
    wrong = spoilt(pipeline, shape, less_or_equal)
    write(tmp_path / "model", pipeline, shape, profile, None)
    package = read_package(tmp_path / "model")
    _, result = export_file(package, str(tmp_path / "right"), "onnx")
    assert result is not None
    assert result["passed"]
    assert 0 < result["at_thresholds"] < result["drawn"]
    monkeypatch.setattr(gate, "write_onnx", lambda *_: wrong)
    with pytest.raises(PackageError, match=r"differs from the pipeline by .*, worst at \{'row': \{'size'"):
        export_file(package, str(tmp_path / "wrong"), "onnx")
    assert not (tmp_path / "wrong").exists()
    write(tmp_path / "spoilt", pipeline, shape, profile, wrong)
    assert not verify_package(read_package(tmp_path / "spoilt"))["onnx"]["passed"]


def test_each_number_has_its_neighbours_beside_it() -> None:
    values = np.array([-np.inf, -1e300, -1.0, -5e-324, 0.0, 5e-324, 1.0, np.inf])
    numbers = thresholds._numbered(values)
    assert (np.diff(numbers.astype(object)) > 0).all()
    np.testing.assert_array_equal(thresholds._float(numbers), values)
    beside = thresholds._float(numbers[1:-1] + np.uint64(1))
    np.testing.assert_array_equal(beside, np.nextafter(values[1:-1], np.inf))
