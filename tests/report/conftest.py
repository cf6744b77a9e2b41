"""Documents of small real runs, made by the real accumulators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headrace.evaluation.assess import AssessmentState
from headrace.evaluation.options import EvaluateOptions
from headrace.profiling.profile import Profile, profile_table

HOSTILE = ("<script>alert(1)</script>", "\"><img src=x onerror='alert(2)'>", "it's & </style></script><b>")


def row_keys(rows: int) -> np.ndarray:
    return np.arange(1, rows + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def assess(
    task: str, classes: list[str], y: np.ndarray, scores: np.ndarray, group: np.ndarray
) -> dict[str, Any]:
    state = AssessmentState(task, classes, EvaluateOptions(bootstrap=40, slices=["group"]))
    slices = {"group": pa.array(group).dictionary_encode()}
    state.update(y, scores, keys=row_keys(len(y)), slices=slices)
    return state.result().to_dict()


@pytest.fixture(scope="session")
def cancer() -> dict[str, Any]:
    """All documents of a run on scikit-learn's breast cancer data."""
    frame = load_breast_cancer(as_frame=True).frame
    y = frame["target"].to_numpy()
    features = frame.drop(columns="target")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)).fit(
        features[:400], y[:400]
    )
    group = np.where(np.arange(len(y)) % 3, "clinic A", "clinic B")
    metrics = assess(
        "classification", ["0", "1"], y[400:], model.predict_proba(features[400:])[:, 1], group[400:]
    )
    metrics["baseline"] = assess("classification", ["0", "1"], y[400:], np.full(169, 0.6), group[400:])
    table = pa.Table.from_pandas(frame[:400]).append_column("group", pa.array(group[:400]))
    passes = [
        {"name": name, "chunks": 2, "rows": 569, "bytes": 4096}
        for name in ("profile", "epoch 1", "epoch 2", "test")
    ]
    history = [{"epoch": 1, "score": 0.91}, {"epoch": 2, "score": 0.93}]
    return {
        "workflow": {
            "problem": {
                "name": "tumours",
                "objective": "Find malignant tumours.",
                "task": "classification",
                "target": "target",
                "success": [{"metric": "roc_auc", "at_least": 0.9}],
                "risks": ["Few rows."],
            }
        },
        "workflow_text": "problem:\n  name: tumours\n",
        "run": {
            "status": "done",
            "rows": 569,
            "data_passes": {"planned": 4, "done": 3},
            "passes": [{**each, "seconds": 0.5} for each in passes if each["name"] != "epoch 2"],
            "peak_rss_bytes": {"workers": {"tcp://a": 300 << 20, "tcp://b": 1200 << 20}, "total": 1500 << 20},
            "seconds": {"profile": 0.5, "train": 2.0},
            "seed": 7,
            "versions": {"headrace": "0.1.0"},
            "best": {"candidate": "logistic"},
            "model_sha256": "ab" * 32,
        },
        "plan": {
            "rows": 569, "chunks": 2, "columns": list(frame.columns), "passes": passes,
            "memory_budget": 1 << 30, "memory_projected": 400 << 20, "workers": 2, "threads": 1,
        },
        "profile": profile_table(table, target="target")["all"],
        "checks": {
            "status": "warn",
            "checks": [
                {"name": "range", "column": "mean area", "status": "pass", "figure": "143 to 2501", "exact": True, "detail": ""},
                {"name": "missing", "column": "group", "status": "warn", "figure": "3 %", "exact": False, "detail": "look"},
            ],
        },
        "preparation": [
            {"column": "mean area", "kind": "numeric", "steps": ["impute mean", "scale"], "parameters": {"mean": 654.889}},
            {"column": "group", "kind": "categorical", "steps": "one-hot", "parameters": "2 categories"},
        ],
        "leaderboard": {
            "metric": "roc_auc",
            "rows": [
                {
                    "candidate": "logistic", "estimator": "sklearn.linear_model.SGDClassifier", "params": {"alpha": 1e-5},
                    "validation": {"roc_auc": 0.93, "log_loss": 0.3}, "epochs": 2, "best_epoch": 2, "history": history,
                    "seconds": 1.5, "is_baseline": False, "best": True,
                },
                {"candidate": "baseline", "estimator": "sklearn.dummy.DummyClassifier", "params": {}, "validation": {}, "test": {"roc_auc": 0.5},
                 "epochs": 1, "best_epoch": 1, "history": [], "seconds": 0.1, "is_baseline": True, "best": False},
            ],
        },
        "metrics": metrics,
        "manifest": {"provenance": {"data_fingerprint": "cd" * 32}},
    }  # fmt: skip


@pytest.fixture(scope="session")
def diabetes() -> dict[str, Any]:
    """The metrics of a regression."""
    frame = load_diabetes(as_frame=True).frame
    features, y = frame.drop(columns="target"), frame["target"].to_numpy(dtype=float)
    predicted = Ridge(0.1).fit(features[:300], y[:300]).predict(features)
    return assess("regression", [], y, predicted, np.where(frame["sex"] > 0, "f", "m"))


@pytest.fixture(scope="session")
def wine() -> dict[str, Any]:
    """The metrics of three classes."""
    data = load_wine()
    labels = [str(name) for name in data.target_names]
    scaled = StandardScaler().fit_transform(data.data)[:, :3]
    scores = LogisticRegression(max_iter=200).fit(scaled, data.target).predict_proba(scaled)
    return assess("classification", labels, data.target, scores, np.where(data.target > 0, "a", "b"))


@pytest.fixture(scope="session")
def hostile() -> Profile:
    """Columns and values that try to leave the page, and every kind of difficult number."""
    rng = np.random.default_rng(0)
    n = 600
    table = pa.table(
        {
            HOSTILE[0]: rng.choice([*HOSTILE, "", "ü" * 300], n),
            HOSTILE[1]: rng.normal(size=n),
            "": np.arange(n),
            "null": pa.nulls(n, pa.float64()),
            "nothing": pa.nulls(n),
            "some infinite": np.where(rng.random(n) < 0.1, np.inf, rng.normal(size=n)),
            "all infinite": np.full(n, np.inf),
            "huge": np.exp(rng.normal(0, 150, n)),
            "tiny": rng.normal(size=n) * 1e-300,
            "wide": rng.uniform(-1, 1, n) * 1.7e308,
            "narrow": 1e9 + rng.normal(size=n) * 1e-3,
            "constant": np.full(n, 3.5),
            "date": pa.array(rng.integers(0, 20000, n).astype("int32"), pa.date32()),
            "within a second": pa.array(rng.integers(0, 1000, n), pa.timestamp("ms")),
            "age of the world": pa.array(rng.integers(-(10**12), 10**12, n), pa.timestamp("s")),
            "one moment": pa.array(np.full(n, 5), pa.timestamp("ns")),
            "flag": rng.random(n) < 0.3,
            "list": pa.array([[1]] * n),
            "label": rng.choice([HOSTILE[2], "plain"], n),
        }
    )
    return profile_table(table, target="label")["all"]
