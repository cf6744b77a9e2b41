"""Small fitted pipelines of every candidate kind, and packages of them."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from headrace.packaging.package import write_package
from headrace.packaging.signature import InputColumn, Signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ESTIMATORS: dict[str, Callable[[], Any]] = {
    "sgd-classifier": lambda: SGDClassifier(loss="log_loss", max_iter=5, tol=None, random_state=0),
    "sgd-hinge": lambda: SGDClassifier(loss="hinge", max_iter=5, tol=None, random_state=0),
    "sgd-regressor": lambda: SGDRegressor(max_iter=5, tol=None, random_state=0),
    "naive-bayes": GaussianNB,
    "mlp-classifier": lambda: MLPClassifier(
        hidden_layer_sizes=(4,), max_iter=3, random_state=np.random.RandomState(0)
    ),
    "mlp-sgd": lambda: MLPClassifier(hidden_layer_sizes=(4,), max_iter=3, solver="sgd", random_state=0),
    "mlp-regressor": lambda: MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0),
    "k-means": lambda: MiniBatchKMeans(3, random_state=0, n_init=1),
    "dummy-classifier": lambda: DummyClassifier(strategy="prior"),
    "dummy-regressor": DummyRegressor,
}
KINDS = list(ESTIMATORS)


def make_frame(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "distance": rng.normal(1000.0, 300.0, rows),
            "delay": rng.exponential(10.0, rows),
            "night": rng.integers(0, 2, rows).astype(float),
            "carrier": rng.choice(["AA", "B6", "UA", "zz"], rows, p=[0.4, 0.3, 0.28, 0.02]).astype(object),
        }
    )
    frame["carrier"] = frame["carrier"].astype(object)
    frame.loc[3, "distance"] = np.nan
    frame.loc[5, "carrier"] = np.nan
    return frame


def make_target(frame: pd.DataFrame, kind: str) -> np.ndarray[Any, Any]:
    score: np.ndarray[Any, Any] = frame["delay"].to_numpy() + 5 * (frame["carrier"] == "AA").to_numpy()
    return score if "regressor" in kind else (score > 12).astype(int)


def _prepare() -> ColumnTransformer:
    clip = FunctionTransformer(np.clip, kw_args={"a_min": 0.0, "a_max": 50.0}, feature_names_out="one-to-one")
    text = SimpleImputer(strategy="constant", fill_value="missing")
    rare = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5, sparse_output=False)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer(
        [
            ("distance", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["distance"]),
            ("delay", make_pipeline(clip, MinMaxScaler()), ["delay"]),
            ("robust", RobustScaler(), ["delay"]),
            ("carrier", make_pipeline(text, rare), ["carrier"]),
            ("code", make_pipeline(SimpleImputer(strategy="most_frequent"), codes), ["carrier"]),
            ("night", "passthrough", ["night"]),
        ]
    )


def make_fitted(kind: str) -> Pipeline:
    frame = make_frame()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return Pipeline([("prepare", _prepare()), ("model", ESTIMATORS[kind]())]).fit(
            frame, make_target(frame, kind)
        )


@cache
def fitted_once(kind: str) -> Pipeline:
    return make_fitted(kind)


def make_signature(task: str = "classification", classes: tuple[Any, ...] = (0, 1)) -> Signature:
    return Signature(
        inputs=(
            InputColumn("distance", "double", "numeric", nullable=True, minimum=100.0, maximum=2000.0),
            InputColumn("delay", "double", "numeric", nullable=False, minimum=0.0, maximum=80.0),
            InputColumn("night", "bool", "boolean", nullable=False),
            InputColumn("carrier", "string", "string", categories=("AA", "B6", "UA")),
        ),
        task=task,
        target="late",
        classes=classes,
    )


METRICS = {
    "rows": 40,
    "metrics": {
        "roc_auc": {"value": 0.731, "low": 0.7, "high": 0.76, "error": 0.0},
        "log_loss": {"value": 0.5, "low": None, "high": None},
    },
    "baseline": {"metrics": {"roc_auc": {"value": 0.5}}},
    "slices": {
        "carrier": {
            "AA": {"rows": 20, "metrics": {"roc_auc": {"value": 0.8, "low": 0.7, "high": 0.9}}},
            "evil|<script>alert(1)</script>\n# x": {"rows": 10, "metrics": {"roc_auc": {"value": 0.6}}},
        }
    },
}


def write(directory: Path, pipeline: Any, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "signature": make_signature(),
        "profile": {"rows": 120, "columns": {}},
        "metrics": METRICS,
        "provenance": {"data_fingerprint": "ab" * 32, "seed": 0, "versions": {"scikit-learn": "1"}},
        "card": {"name": "late", "objective": "say who is late", "risks": ["drift"], "metric": "roc_auc"},
    }
    return write_package(directory, pipeline=pipeline, **{**given, **changes})


@pytest.fixture
def frame() -> pd.DataFrame:
    return make_frame()


@pytest.fixture
def signature() -> Signature:
    return make_signature()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kinds() -> list[str]:
    return KINDS


@pytest.fixture
def fitted() -> Callable[[str], Pipeline]:
    """Pipeline of a kind, fitted once a session: not to be changed."""
    return fitted_once


@pytest.fixture
def fresh() -> Callable[[str], Pipeline]:
    """Pipeline of a kind, fitted anew: may be changed."""
    return make_fitted


@pytest.fixture
def write_model() -> Callable[..., Any]:
    """Write a package with all that does not matter filled in."""
    return write


@pytest.fixture
def package(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    write(directory, fitted_once("sgd-classifier"))
    return directory
