"""A run that calibrates and chooses a threshold: the product is scikit-learn's, and all that read it agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import brier_score_loss
from sklearn.model_selection import FixedThresholdClassifier

import headrace as hr
from headrace.cluster.config import ClusterFile
from headrace.errors import WorkflowError
from headrace.packaging.package import read_package
from headrace.runs import Workflow
from headrace.serving.predictor import Predictor
from headrace.training.candidates import bare

ROWS = 3_000
COST = {"cost": {"false_positive": 1, "false_negative": 6}}


@pytest.fixture(scope="module", autouse=True)
def frame(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Rows of which one in eight is positive."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 2))
    y = (x[:, 0] + x[:, 1] + rng.normal(size=ROWS) > 2).astype(int)
    held = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y, "kind": rng.integers(0, 3, ROWS)})
    place = tmp_path_factory.mktemp("decision")
    (place / "data").mkdir()
    for number, part in enumerate((held[: ROWS // 2], held[ROWS // 2 :])):
        table = pa.Table.from_pandas(part, preserve_index=False)
        pq.write_table(table, place / "data" / f"{number}.parquet", row_group_size=500)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield held


def run(name: str, **changes: Any) -> dict[str, Any]:
    document = {
        "problem": {"name": name, "task": "classification", "target": "y"},
        "data": {"url": "data", "drop": ["kind"]},
        "models": [{"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": 2, "class_weight": "balanced"},
        "evaluate": {"bootstrap": 0},
        **changes,
    }
    job = Workflow.parse(yaml.safe_dump(document))
    return job.run(ClusterFile(workers=2, processes=False, memory=1 << 30), name).run


@pytest.mark.parametrize("validation", [{"kind": "holdout"}, {"kind": "kfold", "folds": 2}])
def test_the_product_is_calibrated_and_has_its_threshold(
    frame: pd.DataFrame, validation: dict[str, Any]
) -> None:
    name = f"both-{validation['kind']}"
    record = run(name, validation=validation, calibrate="isotonic", threshold=COST)
    decision = record["decision"]
    model = hr.load(f"{name}/model")
    product = model.pipeline.steps[-1][1]
    assert isinstance(product, FixedThresholdClassifier)
    assert isinstance(product.estimator_.estimator, CalibratedClassifierCV)
    assert decision["calibration"] == "isotonic"
    assert decision["metric"] == "mean cost"
    assert model.signature.threshold == product.threshold == decision["threshold"]
    assert decision["threshold"] < 0.5  # to miss one costs more than to be wrong about one
    said = model.predict_proba(frame)[:, 1]
    np.testing.assert_array_equal(model.predict(frame), (said >= decision["threshold"]).astype(int))
    # Trained with balanced classes it says far too much before it is calibrated.
    plain = bare(product).predict_proba(model.pipeline.steps[0][1].transform(model.frame(frame)))[:, 1]
    assert abs(said.mean() - frame["y"].mean()) < 0.03 < abs(plain.mean() - frame["y"].mean())
    assert brier_score_loss(frame["y"], said) < brier_score_loss(frame["y"], plain)
    metrics = json.loads(Path(name, "metrics.json").read_text())
    (true_no, false_yes), (false_no, true_yes) = metrics["curves"]["confusion"]
    assert false_yes > false_no
    assert metrics["metrics"]["recall"]["value"] == pytest.approx(true_yes / (true_yes + false_no))
    assert any("is predicted from a probability of" in note for note in record["notes"])
    assert true_no > 0
    # Also where classes have weights in training, the test rows are judged as they come.
    assert metrics["metrics"]["calibration_error"]["value"] < 0.1


def test_a_server_says_what_the_product_says(frame: pd.DataFrame) -> None:
    run("served", calibrate="sigmoid", threshold={"metric": "f1"})
    package = read_package("served/model")
    predictor = Predictor(package)
    feeds = {name: frame[[name]].to_numpy(float) for name in ("a", "b")}
    answer = predictor.answer(feeds)
    model = hr.load("served/model")
    np.testing.assert_array_equal(answer.labels, model.predict(frame))
    np.testing.assert_allclose(answer.outputs, model.predict_proba(frame), atol=1e-9)


def test_a_run_that_was_stopped_decides_as_one_that_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"calibrate": "isotonic", "threshold": COST, "validation": {"kind": "kfold", "folds": 2}}
    whole = run("never-stopped", **wanted)

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("headrace.runs.assess", stopped)
        with pytest.raises(KeyboardInterrupt):
            run("stopped", **wanted)
    after = Workflow.resume("stopped", ClusterFile(workers=2, processes=False, memory=1 << 30)).run
    assert after["decision"] == whole["decision"]
    assert after["best"]["metrics"] == whole["best"]["metrics"]


@pytest.mark.parametrize(
    "model",
    [
        {"estimator": "sklearn.linear_model.SGDClassifier"},
        {"estimator": "sklearn.linear_model.LogisticRegression"},
        {"estimator": "sklearn.naive_bayes.GaussianNB"},
    ],
    ids=["stream", "steps", "exact"],
)
def test_negatives_that_were_left_out_leave_probabilities_as_they_are(
    frame: pd.DataFrame, model: dict[str, Any]
) -> None:
    said = []
    for share in (1.0, 0.25):
        name = f"share-{share}-{model['estimator'].rpartition('.')[2].lower()}"
        run(name, train={"epochs": 1, "negatives": share}, models=[{"name": "m", **model}])
        said.append(hr.load(f"{name}/model").predict_proba(frame)[:, 1])
    everything, few = said
    assert np.abs(few - everything).max() > 1e-6  # it has learnt from fewer rows
    assert few.mean() == pytest.approx(everything.mean(), abs=0.02)
    assert brier_score_loss(frame["y"], few) == pytest.approx(
        brier_score_loss(frame["y"], everything), abs=0.01
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problem": {"name": "m", "task": "classification", "target": "kind"}, "threshold": COST}, "has 3"),
        ({"problem": {"name": "m", "task": "regression", "target": "y"}, "calibrate": "sigmoid"}, "is for class"),
        ({"threshold": COST, "evaluate": {"threshold": 0.3}}, "keep one of them"),
        ({"threshold": {}}, "give exactly one"),
        (
            {
                "problem": {"name": "m", "task": "classification", "target": "kind"},
                "train": {"negatives": 0.5},
            },
            "negatives are of two classes",
        ),
        (
            {
                "threshold": {"metric": "f1"},
                "models": [{"name": "m", "estimator": "sklearn.linear_model.Perceptron"}],
            },
            "add calibrate: sigmoid",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_decided_is_refused_with_the_mend(changes: dict[str, Any], message: str) -> None:
    data = {"url": "data"} if "problem" in changes else {"url": "data", "drop": ["kind"]}
    with pytest.raises(WorkflowError, match=message):
        run(f"refused-{abs(hash(message))}", **{"data": data, "train": {"epochs": 1}, **changes})
