"""Accuracy on the flights: headrace's model beside scikit-learn fitted in memory on the same split.

    python benchmarks/flights.py [RUN]

RUN is the directory of a run of examples/flights/workflow.yaml (default runs/demo, as `make demo` leaves it). Both
scikit-learn models get the columns that the workflow keeps, the rows before 2013-10-01 to learn from and the rest to be
judged on. Intervals are 95 % percentile intervals of 500 bootstrap samples of the test rows, seed 0.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import headrace as hr

if TYPE_CHECKING:
    import pandas as pd

OUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "flights.json"
REPLICATES = 500


def interval(truth: np.ndarray, said: np.ndarray) -> tuple[float, float]:
    """Percentile interval of the AUC over bootstrap samples."""
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(REPLICATES):
        rows = rng.integers(0, len(truth), len(truth))
        draws.append(roc_auc_score(truth[rows], said[rows]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def logistic(text: list[str], numbers: list[str]) -> Any:
    """Logistic regression to convergence on imputed, scaled and one-hot columns."""
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
            ("text", OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist"), text),
        ]
    )
    return make_pipeline(prepare, LogisticRegression(max_iter=2000))


def boosting(frame: pd.DataFrame, text: list[str]) -> Any:
    """Gradient boosting with scikit-learn's defaults and native categories."""
    return HistGradientBoostingClassifier(
        categorical_features=[frame.columns.get_loc(c) for c in text], random_state=0
    )


def main() -> None:
    """Fit, assess, print and write the table."""
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    workflow = hr.Workflow.load(str(run / "workflow.yaml")).options
    metrics = json.loads((run / "metrics.json").read_text())["metrics"]["roc_auc"]
    seconds = sum(json.loads((run / "run.json").read_text())["seconds"].values())
    frame = hr.Dataset(workflow.data.url).to_dask().compute()
    test = (frame["time_hour"] >= workflow.data.split.test_from).to_numpy(dtype=bool)
    truth = frame["late"].to_numpy(dtype=int)
    frame = frame.drop(columns=[*workflow.data.drop, "late", "time_hour"])
    text = [name for name in frame if "string" in str(frame[name].dtype)]
    numbers = [name for name in frame if name not in text]
    frame = frame.astype(dict.fromkeys(numbers, "float64") | dict.fromkeys(text, object))
    frame[text] = frame[text].where(frame[text].notna(), "missing")
    rows: dict[str, Any] = {
        "headrace run": {
            "auc": metrics["value"],
            "low": metrics["low"],
            "high": metrics["high"],
            "seconds": seconds,
        }
    }
    coded = frame.assign(**{c: frame[c].astype("category").cat.codes for c in text})
    # scikit-learn takes at most 255 categories: the rarer ones of a column share the last.
    for c in text:
        order = coded[c].value_counts().index
        coded[c] = coded[c].map({code: min(rank, 254) for rank, code in enumerate(order)})
    for name, model, table in (
        ("LogisticRegression, in memory", logistic(text, numbers), frame),
        ("HistGradientBoosting, in memory", boosting(coded, text), coded),
    ):
        started = time.perf_counter()
        model.fit(table[~test], truth[~test])
        said = model.predict_proba(table[test])[:, 1]
        low, high = interval(truth[test], said)
        rows[name] = {
            "auc": float(roc_auc_score(truth[test], said)),
            "low": low,
            "high": high,
            "seconds": time.perf_counter() - started,
        }
    for name, row in rows.items():
        print(
            f"{name:35s} AUC {row['auc']:.4f} (95 % {row['low']:.4f} to {row['high']:.4f})  {row['seconds']:.1f} s"
        )
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"test_rows": int(test.sum()), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
