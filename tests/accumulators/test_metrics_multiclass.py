"""Metrics of several classes, held against scikit-learn on the concatenated scores."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from headrace.accumulators.metrics import Estimate
from headrace.accumulators.multiclass import MulticlassMetrics


def rows_of(seed: int, rows: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.full(classes, 0.7), rows)
    y = (scores.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, classes - 1)
    return y, scores, rng.random(rows) + 0.1, rng.integers(0, 2**64, rows, dtype=np.uint64)


def measured(y, scores, weight, keys, *, replicates=0, bins=65_536) -> MulticlassMetrics:
    metrics = MulticlassMetrics(scores.shape[1], replicates=replicates, bins=bins)
    metrics.update(y, scores, weight, keys)
    return metrics


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 6), st.integers(1, 80), st.booleans())
def test_equals_scikit_learn(seed, classes, rows, weighted):
    y, scores, weight, keys = rows_of(seed, rows, classes)
    weight = weight if weighted else np.ones(rows)
    result = measured(y, scores, weight if weighted else None, keys).result()
    predicted = scores.argmax(axis=1)
    wanted = {"accuracy": sk.accuracy_score(y, predicted, sample_weight=weight)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted["balanced_accuracy"] = sk.balanced_accuracy_score(y, predicted, sample_weight=weight)
        for average in ("macro", "weighted", "micro"):
            for name, score in (
                ("precision", sk.precision_score),
                ("recall", sk.recall_score),
                ("f1", sk.f1_score),
            ):
                wanted[f"{name}_{average}"] = score(
                    y, predicted, sample_weight=weight, average=average, zero_division=0
                )
    wanted["log_loss"] = sk.log_loss(y, scores, sample_weight=weight, labels=range(classes))
    present = [c for c in range(classes) if 0 < np.sum(y == c) < rows]
    if present:
        wanted["roc_auc_ovr"] = np.mean(
            [sk.roc_auc_score(y == c, scores[:, c], sample_weight=weight) for c in present]
        )
    for name, value in wanted.items():
        assert result[name].value == pytest.approx(value, rel=1e-9, abs=1e-12), name
    top = scores.max(axis=1)
    gaps = [
        abs(np.sum((weight * (top - (predicted == y)))[np.digitize(top, np.arange(1, 15) / 15) == band]))
        for band in range(15)
    ]
    assert result["calibration_error"].value == pytest.approx(sum(gaps) / weight.sum(), abs=1e-12)


def test_confusion_and_macro_auc_equal_scikit_learn():
    y, scores, weight, keys = rows_of(1, 500, 4)
    metrics = measured(y, scores, weight, keys)
    wanted = sk.confusion_matrix(y, scores.argmax(axis=1), sample_weight=weight)
    assert np.array(metrics.curves()["confusion"]) == pytest.approx(wanted)
    auc = sk.roc_auc_score(y, scores, multi_class="ovr", average="macro", sample_weight=weight)
    assert metrics.result()["roc_auc_ovr"].value == pytest.approx(auc, rel=1e-9)


def test_coarse_histograms_state_an_error_that_holds():
    y, scores, _, keys = rows_of(2, 4000, 3)
    one = measured(y, scores, None, keys, bins=192).result()["roc_auc_ovr"]
    assert one.value is not None
    assert one.error is not None
    assert 0 < abs(one.value - sk.roc_auc_score(y, scores, multi_class="ovr")) < one.error < 0.05


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.randoms())
def test_any_split_and_merge_tree_gives_the_same(seed, rows, random):
    columns = rows_of(seed, rows, 3)
    whole = measured(*columns, replicates=8).result()
    parts = [measured(*(c[place : place + 1] for c in columns), replicates=8) for place in range(rows)]
    random.shuffle(parts)
    while len(parts) > 1:
        place = random.randrange(len(parts) - 1)
        parts[place : place + 2] = [parts[place].merge(parts[place + 1])]
    for name, one in parts[0].result().items():
        for field, value in one.to_dict().items():
            wanted = whole[name].to_dict()[field]
            assert value == (wanted if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-12))


def test_state_survives_json():
    metrics = measured(*rows_of(3, 300, 5), replicates=10)
    back = MulticlassMetrics.from_state(json.loads(json.dumps(metrics.state(), allow_nan=False)))
    assert back.state() == metrics.state()
    assert back.result() == metrics.result()
    assert back.merge(metrics).result().keys() == metrics.result().keys()


def test_intervals_hold_their_values_and_have_the_width_of_a_bootstrap_by_hand():
    y, scores, _, keys = rows_of(4, 1500, 3)
    result = measured(y, scores, None, keys, replicates=300).result()
    for one in result.values():
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        # The error of calibration is biased upward in every resample, as it is in the sample.
        assert one.low <= one.value <= one.high or one is result["calibration_error"]
    rng = np.random.default_rng(5)
    values = [
        sk.roc_auc_score(y, scores, multi_class="ovr", sample_weight=rng.poisson(1.0, 1500).astype(float))
        for _ in range(200)
    ]
    one = result["roc_auc_ovr"]
    assert one.high is not None
    assert one.low is not None
    assert one.high - one.low == pytest.approx(np.ptp(np.quantile(values, [0.025, 0.975])), rel=0.3)


@pytest.mark.parametrize("rows", [0, 5])
def test_one_class_is_undefined_without_warning(rows):
    metrics = MulticlassMetrics(3, replicates=10)
    metrics.update(
        np.zeros(rows, dtype=int), np.tile([0.2, 0.3, 0.5], (rows, 1)), None, np.arange(rows, dtype=np.uint64)
    )
    assert metrics.result()["roc_auc_ovr"] == Estimate(None)
    assert metrics.result()["accuracy"].value == (0.0 if rows else None)
    json.dumps(metrics.curves(), allow_nan=False)


def test_many_classes_stay_bounded():
    metrics = measured(*rows_of(6, 200, 100), replicates=20)
    assert metrics.tally.sums.nbytes < 500_000
    assert metrics.result()["roc_auc_ovr"].value is not None
