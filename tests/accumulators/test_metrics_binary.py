"""Two-class metrics, held against scikit-learn on the concatenated scores."""

from __future__ import annotations

import json
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from headrace.accumulators.binary import BinaryMetrics
from headrace.accumulators.metrics import HIGHER_IS_BETTER, Estimate, meets, primary_metric
from headrace.errors import InputError

LAWS = settings(max_examples=40, deadline=None)
ROWS = st.lists(
    st.tuples(
        st.booleans(),
        st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0.0, 1.0)),
        st.floats(0.1, 5.0),
    ),
    min_size=2,
    max_size=60,
)


def keys_of(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).integers(0, 2**64, rows, dtype=np.uint64)


def measured(y, scores, weight=None, *, replicates=0, bins=65_536) -> BinaryMetrics:
    metrics = BinaryMetrics(replicates=replicates, bins=bins)
    metrics.update(y, scores, weight, keys_of(len(y)))
    return metrics


def reference(y, scores, weight) -> dict[str, float]:
    predicted = (scores >= 0.5).astype(int)
    w = np.ones(len(y)) if weight is None else weight
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = {
            "accuracy": sk.accuracy_score(y, predicted, sample_weight=w),
            "balanced_accuracy": sk.balanced_accuracy_score(y, predicted, sample_weight=w),
            "precision": sk.precision_score(y, predicted, sample_weight=w, zero_division=np.nan),
            "recall": sk.recall_score(y, predicted, sample_weight=w, zero_division=np.nan),
            "f1": sk.f1_score(y, predicted, sample_weight=w, zero_division=np.nan),
            "roc_auc": sk.roc_auc_score(y, scores, sample_weight=w),
            "average_precision": sk.average_precision_score(y, scores, sample_weight=w)
            if np.any(y)
            else np.nan,
            "log_loss": sk.log_loss(y, np.column_stack([1 - scores, scores]), sample_weight=w, labels=[0, 1]),
            "brier": sk.brier_score_loss(y, scores, sample_weight=w, pos_label=1),
        }
    bands = np.digitize(scores, np.arange(1, 15) / 15)
    gaps = [abs(np.sum((w * (scores - y))[bands == band])) for band in range(15)]
    values["calibration_error"] = np.sum(gaps) / w.sum()
    return values


def assert_same(result: dict[str, Estimate], wanted: dict[str, float]) -> None:
    assert result.keys() == wanted.keys()
    for name, value in wanted.items():
        if np.isnan(value):
            assert result[name].value is None, name
        else:
            assert result[name].value == pytest.approx(value, rel=1e-9, abs=1e-12), name
            assert result[name].error == 0.0, name


@LAWS
@given(ROWS, st.booleans())
def test_equals_scikit_learn(rows, weighted):
    y, scores, weight = (np.array(column) for column in zip(*rows, strict=True))
    y = y.astype(int)
    if weighted:
        assert_same(measured(y, scores, weight).result(), reference(y, scores, weight))
    else:
        assert_same(measured(y, scores).result(), reference(y, scores, None))


@pytest.mark.parametrize("scores", [[0.0, 0.0, 1.0, 1.0], [0.3] * 4, [1.0, 0.0, 0.0, 1.0]])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_certain_and_constant_scores_equal_scikit_learn(scores, kind):
    y, p = np.array([0, 1, 0, 1]), np.array(scores, dtype=kind)
    result = measured(y, p).result()
    wanted = sk.log_loss(y, np.column_stack([1 - p, p]))
    assert result["log_loss"].value == pytest.approx(wanted, rel=1e-6 if kind is np.float32 else 1e-12)
    assert result["roc_auc"].value == pytest.approx(sk.roc_auc_score(y, p))


@LAWS
@given(ROWS, st.randoms(), st.sampled_from([4, 1000]))
def test_any_split_and_merge_tree_gives_the_same(rows, random, bins):
    y, scores, weight = (np.array(column) for column in zip(*rows, strict=True))
    y, keys = y.astype(int), keys_of(len(rows))

    def part(places: list[int]) -> BinaryMetrics:
        metrics = BinaryMetrics(replicates=8, bins=bins)
        metrics.update(y[places], scores[places], weight[places], keys[places])
        return metrics

    order = list(range(len(rows)))
    random.shuffle(order)
    parts = [BinaryMetrics(replicates=8, bins=bins)] + [part([place]) for place in order]
    while len(parts) > 1:
        place = random.randrange(len(parts) - 1)
        parts[place : place + 2] = [parts[place].merge(parts[place + 1])]
    whole = part(list(range(len(rows)))).result()
    for name, one in parts[0].result().items():
        for field, value in one.to_dict().items():
            wanted = whole[name].to_dict()[field]
            assert value == (wanted if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-12))


def test_whole_weights_give_bitwise_the_same_replicates_for_any_split():
    rng = np.random.default_rng(0)
    y, scores, keys = rng.integers(0, 2, 10_000), rng.random(10_000), keys_of(10_000)
    whole = BinaryMetrics(replicates=20)
    whole.update(y, scores, None, keys)
    left, right = BinaryMetrics(replicates=20), BinaryMetrics(replicates=20)
    left.update(y[:1234], scores[:1234], None, keys[:1234])
    right.update(y[1234:], scores[1234:], None, keys[1234:])
    counts = len(whole.tally.sums) - 2
    assert (right.merge(left).tally.sums[:counts] == whole.tally.sums[:counts]).all()


def test_merge_leaves_its_operands_alone():
    left, right = measured(np.array([0, 1]), np.array([0.2, 0.7])), measured(np.array([1]), np.array([0.4]))
    before = json.dumps([left.state(), right.state()])
    merged = left.merge(right)
    merged.update(np.array([0]), np.array([0.9]))
    assert json.dumps([left.state(), right.state()]) == before


def test_state_survives_json_and_pickle_is_small():
    rng = np.random.default_rng(1)
    metrics = measured(rng.integers(0, 2, 40_000), rng.random(40_000), replicates=200)
    back = BinaryMetrics.from_state(json.loads(json.dumps(metrics.state(), allow_nan=False)))
    assert back.state() == metrics.state()
    assert back.result() == metrics.result()
    assert back.curves() == metrics.curves()
    assert len(pickle.dumps(metrics)) < 3_000_000


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_one_class_is_undefined_without_warning(rows):
    metrics = measured(np.ones(rows, dtype=int), np.full(rows, 0.2), replicates=20)
    result = metrics.result()
    assert result["roc_auc"] == Estimate(None)
    assert result["precision"].value is None
    assert (result["log_loss"].value is None) == (rows == 0)
    json.dumps([metrics.curves(), {name: one.to_dict() for name, one in result.items()}], allow_nan=False)


def test_rows_without_weight_count_for_nothing():
    y, scores = np.array([0, 1, 1, 0]), np.array([0.1, 0.8, 0.3, 0.95])
    weight = np.array([1.0, 1.0, 1.0, 0.0])
    metrics = BinaryMetrics(replicates=0)
    metrics.update(y, scores, weight)
    assert metrics.result()["roc_auc"].value == 1.0
    assert metrics.result()["accuracy"].value == pytest.approx(2 / 3)


def test_threshold_holds_its_own_score():
    metrics = BinaryMetrics(threshold=0.3, replicates=0)
    metrics.update(np.array([0, 1, 1]), np.array([np.nextafter(0.3, 0), 0.3, 0.1]))
    assert metrics.curves()["confusion"] == [[1.0, 0.0], [1.0, 1.0]]


def test_curves_say_what_the_rows_say():
    rng = np.random.default_rng(2)
    scores = rng.random(5000)
    y = (rng.random(5000) < scores).astype(int)
    curves = measured(y, scores, replicates=50).curves()
    assert len(curves["calibration"]) == 15
    assert all(abs(point["score"] - point["observed"]) < 0.1 for point in curves["calibration"])
    assert all(point["low"] <= point["observed"] <= point["high"] for point in curves["calibration"])
    assert sum(map(sum, curves["score_histogram"]["classes"])) == 5000
    assert sum(curves["score_histogram"]["classes"][1]) == y.sum()
    x, height = np.array(curves["roc"]).T
    assert np.trapezoid(height, x) == pytest.approx(sk.roc_auc_score(y, scores), abs=1e-3)


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(3)
    # Two normals one standard deviation apart: AUC = Phi(1 / sqrt 2), accuracy half way between them = Phi(1 / 2).
    truth = {"roc_auc": 0.7602499389, "accuracy": 0.6914624613}
    covered = dict.fromkeys(truth, 0)
    for _ in range(200):
        y = np.repeat([0, 1], 200)
        scores = 1 / (1 + np.exp(0.5 - rng.normal(y, 1.0)))
        metrics = BinaryMetrics(replicates=200)
        metrics.update(y, scores, None, rng.integers(0, 2**64, 400, dtype=np.uint64))
        result = metrics.result()
        for name, value in truth.items():
            low, high = result[name].low, result[name].high
            assert low is not None
            assert high is not None
            covered[name] += low <= value <= high
    assert all(0.90 <= count / 200 <= 0.99 for count in covered.values()), covered


def test_interval_spread_equals_that_of_a_bootstrap_by_hand():
    rng = np.random.default_rng(4)
    n = 2000
    scores = rng.beta(1, 4, n)
    y = (rng.random(n) < scores).astype(int)
    metrics = measured(y, scores, replicates=400)
    widths: dict[str, list[float]] = {"roc_auc": [], "average_precision": [], "log_loss": []}
    for _ in range(200):
        w = rng.poisson(1.0, n).astype(float)
        widths["roc_auc"].append(sk.roc_auc_score(y, scores, sample_weight=w))
        widths["average_precision"].append(sk.average_precision_score(y, scores, sample_weight=w))
        widths["log_loss"].append(sk.log_loss(y, np.column_stack([1 - scores, scores]), sample_weight=w))
    for name, values in widths.items():
        one = metrics.result()[name]
        assert one.low is not None
        assert one.high is not None
        assert one.high - one.low == pytest.approx(np.ptp(np.quantile(values, [0.025, 0.975])), rel=0.3)


def test_criteria_are_met_within_inclusive_limits():
    assert meets("roc_auc", 0.7, at_least=0.7)
    assert not meets("rmse", 2.0, at_most=1.9)
    assert not meets("roc_auc", None, at_least=0.0)
    with pytest.raises(InputError, match="unknown metric 'auc'"):
        meets("auc", 0.5, at_least=0.1)
    with pytest.raises(InputError, match="no limit"):
        meets("rmse", 0.5)
    assert {primary_metric("regression"), primary_metric("classification", 5)} <= HIGHER_IS_BETTER.keys()
