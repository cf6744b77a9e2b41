"""The assessment of a test split: metrics, curves, slices, intervals, and its JSON."""

from __future__ import annotations

import json
import pickle
import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import metrics as sk

from headrace.accumulators import merge_tree
from headrace.errors import InputError, RunError
from headrace.evaluation.assess import Assessment, AssessmentState
from headrace.evaluation.options import EvaluateOptions


def clicks(rows: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    scores = rng.beta(1, 3, rows)
    y = (rng.random(rows) < scores).astype(np.int64)
    groups = np.array(["a", "b", "c", None], dtype=object)[rng.integers(0, 4, rows)]
    return y, scores, groups, rng.integers(0, 2**64, rows, dtype=np.uint64)


def dictionary(values) -> pa.DictionaryArray:
    return pa.array(list(values), pa.string()).dictionary_encode()


def state_of(y, scores, groups, keys, *, bootstrap: int = 20) -> AssessmentState:
    state = AssessmentState("classification", ["0", "1"], EvaluateOptions(slices=["g"], bootstrap=bootstrap))
    state.update(y, scores, keys=keys, slices={"g": dictionary(groups)})
    return state


def test_slices_equal_scikit_learn_on_their_rows():
    y, scores, groups, keys = clicks(2000)
    assessment = state_of(y, scores, groups, keys).result()
    assert assessment.rows == 2000
    assert sum(one["rows"] for one in assessment.slices["g"].values()) == 2000
    for name, one in assessment.slices["g"].items():
        rows = groups == (None if name == "missing" else name)
        assert one["rows"] == rows.sum()
        auc = one["metrics"]["roc_auc"]
        assert abs(auc.value - sk.roc_auc_score(y[rows], scores[rows])) <= auc.error + 1e-12
        assert one["metrics"]["log_loss"].value == pytest.approx(
            sk.log_loss(y[rows], np.column_stack([1 - scores[rows], scores[rows]])), rel=1e-9
        )
        assert auc.low < auc.value < auc.high


def test_slices_come_with_the_most_rows_first():
    groups = ["x"] * 5 + ["y"] * 9 + ["z"] * 5
    state = state_of(np.arange(19) % 2, np.full(19, 0.4), groups, np.arange(19, dtype=np.uint64))
    assert list(state.result().slices["g"]) == ["y", "x", "z"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 6))
def test_any_split_gives_the_same_assessment(seed, rows, parts):
    y, scores, groups, keys = clicks(rows, seed)
    whole = state_of(y, scores, groups, keys).result()
    split = [state_of(y[p::parts], scores[p::parts], groups[p::parts], keys[p::parts]) for p in range(parts)]
    merged = merge_tree(split, AssessmentState.merge).result()
    assert merged.rows == whole.rows
    assert list(merged.slices["g"]) == list(whole.slices["g"])
    pairs = [(merged.metrics, whole.metrics)]
    pairs += [
        (merged.slices["g"][name]["metrics"], one["metrics"]) for name, one in whole.slices["g"].items()
    ]
    for left, right in pairs:
        for name, one in left.items():
            for key, value in one.to_dict().items():
                wanted = right[name].to_dict()[key]
                assert value == (wanted if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-12))


@pytest.mark.parametrize("task", ["classification", "multiclass", "regression", "clustering"])
def test_state_and_assessment_survive_json_and_pickle(task):
    y, scores, groups, keys = clicks(300)
    if task == "multiclass":
        state = AssessmentState(
            "classification", ["p", "q", "r"], EvaluateOptions(slices=["g"], bootstrap=10)
        )
        rows = np.column_stack([scores / 2, scores / 2, 1 - scores])
        state.update(y, rows, keys=keys, slices={"g": dictionary(groups)})
    elif task == "regression":
        state = AssessmentState(task, options=EvaluateOptions(slices=["g"], bootstrap=10))
        state.update(y * 2.0, scores, keys=keys, slices={"g": dictionary(groups)})
    elif task == "clustering":
        state = AssessmentState(task, options=EvaluateOptions(bootstrap=10))
        state.update(y, scores[:, None], keys=keys, distances=scores)
    else:
        state = state_of(y, scores, groups, keys)
    assessment = state.result()
    back = AssessmentState.from_state(json.loads(json.dumps(state.state(), allow_nan=False)))
    assert back.state() == state.state()
    assert back.result() == assessment
    assert pickle.loads(pickle.dumps(state)).result() == assessment
    document = json.loads(json.dumps(assessment.to_dict(), allow_nan=False))
    assert Assessment.from_dict(document) == assessment
    assert Assessment.from_dict({**document, "baseline": {}}) == assessment


def test_empty_state_is_neutral_and_silent():
    y, scores, groups, keys = clicks(50)
    full = state_of(y, scores, groups, keys)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for task, classes in (("classification", ["0", "1"]), ("regression", []), ("clustering", [])):
            empty = AssessmentState(task, classes)
            assert empty.merge(empty).result().rows == 0
    none = AssessmentState("classification", ["0", "1"], full.options)
    assert none.merge(full).result() == full.result() == full.merge(none).result()


def test_merging_leaves_both_sides_alone():
    left, right = state_of(*clicks(30)), state_of(*clicks(40, 1))
    before = json.dumps([left.state(), right.state()])
    merged = left.merge(right)
    y, scores, groups, keys = clicks(20, 2)
    merged.update(y, scores, keys=keys, slices={"g": dictionary(groups)})
    assert json.dumps([left.state(), right.state()]) == before


def test_fifty_values_are_shown_and_the_rest_is_told_together():
    rng = np.random.default_rng(3)
    groups = [f"v{place}" for place in rng.integers(0, 80, 2000)] + ["other"] * 100
    y, scores, _, keys = clicks(2100)
    assessment = state_of(y, scores, np.array(groups), keys, bootstrap=0).result()
    shown = assessment.slices["g"]
    assert len(shown) == 51
    assert next(iter(shown)) == "other"
    assert list(shown)[-1] == "(other)"
    assert sum(one["rows"] for one in shown.values()) == 2100
    assert assessment.notes == ("g: the 50 values with the most rows, the rest together",)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_a_column_with_too_many_values_is_not_sliced_however_it_is_split(split):
    y, scores, _, keys = clicks(300)
    groups = np.array([f"v{place}" for place in range(300)])
    parts = [
        state_of(y[p::split], scores[p::split], groups[p::split], keys[p::split], bootstrap=0)
        for p in range(split)
    ]
    assessment = merge_tree(parts, AssessmentState.merge).result()
    assert assessment.slices == {}
    assert assessment.notes == ("g has more than 250 values and is not sliced",)


def test_slice_columns_may_be_plain_chunked_or_numbers():
    y, scores, _, _ = clicks(6)
    columns = [
        pa.array([1, 2, 1, 2, None, 1]),
        pa.chunked_array([[1, 2], [1, 2, None, 1]]),
        pa.DictionaryArray.from_arrays(
            pa.array([0, 1, 0, 1, 2, 3], pa.int8()), pa.array(["1", "2", None, "1"])
        ),
    ]
    for column in columns:
        state = AssessmentState("classification", ["0", "1"], EvaluateOptions(slices=["g"], bootstrap=0))
        state.update(y, scores, slices={"g": column})
        assert {name: one["rows"] for name, one in state.result().slices["g"].items()} == {
            "1": 3,
            "2": 2,
            "missing": 1,
        }


def test_no_rows_and_null_columns_are_taken():
    y, scores, groups, keys = clicks(5)
    state = state_of(y[:0], scores[:0], groups[:0], keys[:0])
    assert state.result().rows == 0
    state.update(y, scores, keys=keys, slices={"g": pa.nulls(5)})
    assert {name: one["rows"] for name, one in state.result().slices["g"].items()} == {"missing": 5}


def test_two_columns_of_probabilities_are_those_of_class_one():
    y, scores, _, keys = clicks(100)
    wide, narrow = (
        AssessmentState("classification", ["0", "1"], EvaluateOptions(bootstrap=0)) for _ in range(2)
    )
    wide.update(y, np.column_stack([1 - scores, scores]), keys=keys)
    narrow.update(y, scores, keys=keys)
    assert wide.result() == narrow.result()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.5])
def test_scores_that_are_no_probabilities_are_refused(bad):
    state = AssessmentState("classification", ["0", "1"], EvaluateOptions(bootstrap=0))
    with pytest.raises(RunError, match="the model gave"):
        state.update(np.array([0, 1]), np.array([0.5, bad]))
    assert state.rows == 0


def test_wrong_requests_are_told():
    with pytest.raises(InputError, match="unknown task 'ranking'"):
        AssessmentState("ranking")
    with pytest.raises(InputError, match="at least two"):
        AssessmentState("classification", ["only"])
    state = AssessmentState("regression", options=EvaluateOptions(slices=["g"], bootstrap=0))
    with pytest.raises(InputError, match="column 'g'"):
        state.update(np.ones(2), np.ones(2))
    with pytest.raises(InputError, match="row keys"):
        AssessmentState("regression").update(np.ones(2), np.ones(2))
    for wrong in ({"bootstrap": -1}, {"threshold": 1.0}, {"slice": ["g"]}):
        with pytest.raises(ValidationError):
            EvaluateOptions(**wrong)


def test_an_assessment_is_small():
    assessment = state_of(*clicks(20_000), bootstrap=200).result()
    assert len(json.dumps(assessment.to_dict())) < 60_000
