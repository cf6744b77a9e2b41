"""Weights are the optimum that SciPy finds otherwise, a stack is scikit-learn's, and the product answers as its parts put together by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, SplineTransformer

from headrace.packaging.fingerprint import model_digest
from headrace.packaging.trust import dump_pipeline, load_pipeline
from headrace.training.board import Trained, Training, rank, together
from headrace.training.calibration import Answers
from headrace.training.candidates import ENSEMBLE, Candidate, capabilities
from headrace.training.ensembles import Said, add_ensemble, average_weights, blend, combined, heard
from headrace.training.leaderboard import complexity, leaderboard, size
from headrace.training.options import EnsembleOptions
from headrace.training.prepared import Block
from headrace.training.scoring import kind_of, score_outputs

RNG = np.random.default_rng(0)
FOLDS = KFold(4)
X2, Y2 = make_classification(600, 8, n_informative=4, random_state=0)
X3, Y3 = make_classification(600, 8, n_informative=5, n_classes=3, random_state=0)
XR, YR = make_regression(600, 8, noise=40.0, random_state=0)
YR = YR + 90 * np.sin(XR[:, 0] * 3) + 60 * XR[:, 1] * XR[:, 2]
LABELS = np.where(Y2 == 1, "yes", "no")
CLASSIFIERS = {
    "linear": LogisticRegression(C=0.01),
    "bayes": GaussianNB(),
    "squares__too": make_pipeline(PolynomialFeatures(2), LogisticRegression(max_iter=1000)),
}
REGRESSORS = {
    "linear": Ridge(),
    "weights": make_pipeline(SplineTransformer(), Ridge()),
    "squares": make_pipeline(PolynomialFeatures(2), Ridge()),
}
CASES: dict[str, tuple[Any, Any, tuple[Any, ...], dict[str, Any]]] = {
    "two": (X2, LABELS, ("no", "yes"), CLASSIFIERS),
    "three": (X3, Y3, (0, 1, 2), CLASSIFIERS),
    "numbers": (XR, YR, (), REGRESSORS),
}


def of_folds(case: str, weight: np.ndarray | None = None) -> list[Said]:
    """Let each candidate answer for the rows of each fold that it did not learn from."""
    X, y, _, models = CASES[case]
    return [
        Said.of([
            Answers.of(
                clone(model).fit(X[a], y[a]),
                Block(X[b], y[b], None if weight is None else weight[b]),
                sparse=False,
            )
            for model in models.values()
        ])
        for a, b in FOLDS.split(X)
    ]  # fmt: skip


def error_of(said: Said, weights: np.ndarray, classes: tuple[Any, ...]) -> float:
    mixed = np.average(said.outputs, axis=1, weights=weights)
    if classes:
        proba = np.column_stack([1 - mixed, mixed]) if mixed.shape[1] == 1 else mixed
        return float(log_loss(said.y, proba, sample_weight=said.weight, labels=list(classes)))
    return float(np.average((mixed[:, 0] - said.y) ** 2, weights=said.weight))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_no_other_weights_are_better(case: str, weighted: bool) -> None:
    weight = RNG.uniform(0.2, 3.0, 600) if weighted else None
    said, classes = Said.joined(of_folds(case, weight)), CASES[case][2]
    found = average_weights(said, classes)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1, abs=1e-5)
    least = error_of(said, found, classes)
    others = np.vstack([np.eye(3), RNG.dirichlet(np.ones(3), 20), RNG.dirichlet(0.2 * np.ones(3), 20)])
    near = np.clip(found + RNG.normal(0, 1e-3, (20, 3)), 0, None)
    assert all(least <= error_of(said, each, classes) * (1 + 1e-9) for each in [*others, *near])


def test_weights_of_numbers_are_the_constrained_least_squares_of_scipy() -> None:
    said = Said.joined(of_folds("numbers"))
    heavy = 1e6  # makes the sum of the weights 1, as nnls knows no constraint
    expected, _ = nnls(np.vstack([said.outputs[:, :, 0], np.full((1, 3), heavy)]), np.append(said.y, heavy))
    np.testing.assert_allclose(average_weights(said, ()), expected, atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 8), classes=st.integers(2, 4))
def test_the_optimality_conditions_of_the_log_loss_hold(seed: int, count: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, 300)
    skill = rng.uniform(0, 3, count)
    logits = rng.normal(size=(300, count, classes)) + skill[:, None] * np.eye(classes)[y][:, None, :]
    proba = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    outputs = proba[:, :, 1:] if classes == 2 else proba
    w = average_weights(Said(outputs, y, None), tuple(range(classes)))
    given_ = proba[np.arange(300), :, y]
    gain = (given_ / (given_ @ w)[:, None]).mean(axis=0)  # of a member with weight 1, of any other at most 1
    assert gain.max() <= 1 + 1e-3
    assert np.abs(gain[w > 1e-3] - 1).max() <= 1e-3


@pytest.mark.parametrize("case", CASES)
def test_a_stack_is_that_of_scikit_learn(case: str) -> None:
    X, y, classes, models = CASES[case]
    names = tuple(models)
    learnt = blend("stack", names, Said.joined(of_folds(case)), classes)
    made = combined(learnt, {name: clone(each).fit(X, y) for name, each in models.items()}, classes)
    kind = StackingClassifier if classes else StackingRegressor
    expected = kind([(f"m{i}", each) for i, each in enumerate(models.values())], cv=FOLDS).fit(X, y)
    np.testing.assert_array_equal(made.predict(X), expected.predict(X)) if classes else None
    way = "predict_proba" if classes else "predict"
    np.testing.assert_allclose(getattr(made, way)(X), getattr(expected, way)(X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["average", "stack"])
def test_the_product_answers_as_its_parts_by_hand_and_as_the_blend(case: str, kind: str) -> None:
    X, y, classes, models = CASES[case]
    learnt = blend(kind, tuple(models), Said.joined(of_folds(case)), classes)
    fitted = {name: clone(each).fit(X, y) for name, each in models.items()}
    before = {name: model_digest(each) for name, each in fitted.items()}
    made = combined(learnt, fitted, classes)
    assert {name: model_digest(each) for name, each in fitted.items()} == before
    way = "predict_proba" if classes else "predict"
    parts = [getattr(fitted[name], way)(X) for name in models]
    if kind == "average":
        expected = np.average(parts, axis=0, weights=learnt.weights)
        np.testing.assert_allclose(getattr(made, way)(X), expected, rtol=1e-12)
    block = Block(X, y, None)
    said = Said.of([Answers.of(fitted[name], block, sparse=False) for name in models])
    ours, theirs = learnt.answers(said, len(classes)), Answers.of(made, block, sparse=False)
    np.testing.assert_allclose(ours.said, theirs.said, rtol=1e-10, atol=1e-12)
    if classes:
        assert list(made.classes_) == list(classes)
        assert ours.probabilities is not None
        assert theirs.probabilities is not None
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, rtol=1e-10, atol=1e-12)
        labels = np.asarray(classes)[made.predict_proba(X).argmax(axis=1)]
        np.testing.assert_array_equal(made.predict(X), labels)
    back = load_pipeline(dump_pipeline(made), where="here")
    assert model_digest(back) == model_digest(made)
    np.testing.assert_array_equal(back.predict(X), made.predict(X))
    held = [fitted[name] for name in learnt.members]
    assert size(made) >= sum(map(size, held))
    assert complexity(made) >= sum(map(complexity, held))
    assert capabilities(made).sparse == all(capabilities(each).sparse for each in held)


def trained_on(case: str, folds: int, models: dict[str, Any]) -> Training:
    """Return a board of candidates as a stream leaves it."""
    X, y, classes, _ = CASES[case]
    kind = kind_of("classification" if classes else "regression", len(classes))
    found = []
    for name, model in models.items():
        parts = []
        for fold, (a, b) in enumerate(list(KFold(max(2, folds)).split(X))[:folds]):
            fitted = clone(model).fit(X[a], y[a])
            block = Block(X[b], y[b], None)
            answers = Answers.of(fitted, block, sparse=False)
            said = answers.said if answers.probabilities is None else answers.probabilities
            if classes and answers.probabilities is None:
                said = (answers.said > 0).astype(float)
            scores = score_outputs(said, block, kind=kind, classes=classes)
            each = Trained(Candidate(name, name), fitted, 1, scores, [scores], 2.0, rows=len(b), fold=fold)
            each.answers = (answers,)
            parts.append(each)
        whole = together(tuple(parts))
        whole.answers = tuple(answer for each in parts for answer in each.answers)
        found.append(whole)
    metric = "rmse" if not classes else "log_loss"
    return Training(metric, rank(found, metric), 1, ratio=0.25)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["average", "stack"])
@pytest.mark.parametrize("folds", [1, 4])
def test_it_stands_on_the_board_with_what_it_reaches_on_rows_it_did_not_learn_from(
    case: str, kind: Any, folds: int
) -> None:
    before = trained_on(case, folds, CASES[case][3])
    training, _ = add_ensemble(before, EnsembleOptions(kind=kind), CASES[case][2])
    (row,) = [row for row in leaderboard(training)["rows"] if row["candidate"] == ENSEMBLE]
    (made,) = [each for each in training.trained if each.candidate.name == ENSEMBLE]
    assert training.blend is not None
    best = before.best.scores[training.metric]
    assert row["best"] == (made.scores[training.metric] < best)
    assert made.scores[training.metric] < best * 1.05
    assert (row["interval"] is not None) == (folds > 1)
    assert row["seconds"] == 2.0 * folds * 3
    assert row["validation_rows"] == sum(len(each.y) for each in made.answers) == before.best.rows
    if folds > 1:
        other = training.trained[1] if row["best"] else training.best
        apart = leaderboard(training)["rows"][1]["difference"] if row["best"] else row["difference"]
        mine = [each.scores[training.metric] for each in made.folds]
        theirs = [each.scores[training.metric] for each in other.folds]
        sign = -1 if row["best"] else 1
        assert apart["value"] == pytest.approx(sign * np.mean(np.subtract(mine, theirs)))
    # Not one weight of a fold is learnt from its own rows.
    said = [Said.of(each) for each in zip(*(t.answers for t in before.trained), strict=True)]
    if folds > 1:
        names = tuple(each.candidate.name for each in before.trained)
        again = blend(kind, names, Said.joined(said[1:]), CASES[case][2]).answers(
            said[0], len(CASES[case][2])
        )
        np.testing.assert_array_equal(again.said, made.answers[0].said)


def test_it_is_not_made_where_it_cannot_be_better() -> None:
    alone = trained_on("two", 2, {"bayes": GaussianNB()})
    training, told = add_ensemble(alone, EnsembleOptions(), ("no", "yes"))
    assert training is alone
    assert told == "no ensemble: fewer than two candidates see rows as bayes does and give probabilities"
    hinge = trained_on("two", 2, {"bayes": GaussianNB(), "hinge": SGDClassifier(random_state=0)})
    assert add_ensemble(hinge, EnsembleOptions(), ("no", "yes"))[0] is hinge
    twice = trained_on("numbers", 2, {"a": Ridge(), "b": LinearRegression()})
    bad = twice.trained[1]
    bad.answers = tuple(Answers(-9 * each.y, None, each.y, None) for each in bad.answers)
    training, told = add_ensemble(twice, EnsembleOptions(), ())
    assert training is twice
    assert told.startswith("no ensemble: no average of")


def test_answers_are_kept_of_the_best_that_see_rows_alike() -> None:
    def each(name: str, prepare: dict[str, Any], **known: Any) -> Trained:
        return Trained(Candidate(name, "e", {}, prepare), **known)

    board = [
        each("a", {}),
        each("b", {"k": 1}),
        each("c", {}, stopped=5),
        each("d", {}),
        each("e", {}),
        each("f", {"k": 1}, failure="no"),
        each("g", {"k": 1}),
        each("h", {}, is_baseline=True),
    ]
    assert [one.candidate.name for one in heard(board, 2)] == ["a", "b", "d", "g"]
    assert heard(board, 0) == []


def test_an_ensemble_comes_after_a_candidate_that_is_as_good() -> None:
    def of(name: str) -> Trained:
        return Trained(Candidate(name, "e"), scores={"rmse": 1.0})

    assert [each.candidate.name for each in rank([of(ENSEMBLE), of("linear")], "rmse")] == [
        "linear",
        ENSEMBLE,
    ]
