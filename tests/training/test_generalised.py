"""Steps over the data end where scikit-learn's solvers end in memory: every penalty, fold, loss, with weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import GammaRegressor, LogisticRegression, PoissonRegressor, QuantileRegressor

from headrace.accumulators import merge_tree
from headrace.engine.folds import Fold, RowFolds
from headrace.engine.ledger import Ledger
from headrace.errors import WorkflowError
from headrace.training.generalised import Solution, dump_states, load_states, minimise
from headrace.training.generalised_losses import (
    MODELS,
    Binary,
    Quantile,
    stages_of,
    told,
)
from headrace.training.generalised_steps import Curvature, Descent
from headrace.training.generalised_sums import Problem, references
from headrace.training.routes import require_direct
from headrace.training.sweeps import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

RNG = np.random.default_rng(0)
N, D, K = 2000, 4, 3
X = RNG.normal(size=(N, D)) @ (np.eye(D) + 0.3 * RNG.normal(size=(D, D)))
COEF = RNG.normal(size=D)
CELLS = RNG.integers(0, K, N)
W = RNG.uniform(0.2, 2.0, N)
FOLDS = (*RowFolds(K).folds, Fold("all", 0, tuple(range(K)), ()))
LINEAR = "sklearn.linear_model"


@dataclass
class MemoryReader:
    """Runs a pass over rows in memory, as the real one does over chunks."""

    rows: Sequence[Rows]
    passes: list[str] = field(default_factory=list)
    ledger: Any = None
    notes: list[Any] = field(default_factory=list)

    def reduce(self, source: Any, update: Any, merge: Any, *, name: str, form: Any) -> Any:
        self.passes.append(name)
        return form.load(form.dump(merge_tree([update.recall(chunk) for chunk in self.rows], merge)))

    def emit(self, event: Any) -> None:
        self.notes.append(event)


class Kept:
    def __call__(self, table: Any, chunk: Any) -> Rows:
        raise AssertionError

    def recall(self, chunk: Any) -> Any:
        return chunk


def chunks(X: Any, y: Any, weight: Any = None) -> list[Rows]:
    return [
        Rows(X[rows], y[rows], None if weight is None else weight[rows], CELLS[rows][None])
        for rows in np.array_split(np.arange(len(y)), 4)
    ]


def solve(
    path: str,
    settings: Sequence[dict[str, Any]],
    X: Any,
    y: Any,
    weight: Any = None,
    classes: int = 0,
    folds: Sequence[Fold] = FOLDS,
) -> tuple[list[tuple[Problem, Solution]], MemoryReader]:
    import importlib

    module, _, name = path.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    model = MODELS[path]
    problems = []
    for setting in settings:
        estimator = kind(**setting)
        for fold in folds:
            rows = np.isin(CELLS, fold.train)
            total = float(rows.sum() if weight is None else weight[rows].sum())
            problems.append(
                Problem(
                    str(setting),
                    fold,
                    0,
                    stages_of(model.loss(estimator, classes), total, X.shape[1], float(np.std(y))),
                    *model.penalty(estimator),
                    estimator.fit_intercept,
                )
            )
    reader = MemoryReader(chunks(X, y, weight))
    solved = minimise(
        cast("Any", reader),
        cast("Any", None),
        [(Kept(), X.shape[1])],
        problems,
        outputs=classes if classes > 2 else 1,
        mean=float(np.mean(y)),
    )
    return list(zip(problems, solved, strict=True)), reader


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_of_every_penalty_and_fold_is_scikit_learns(classes, weight, form):
    raw = X @ COEF + RNG.logistic(size=N)
    y = np.digitize(raw, [0.0] if classes == 2 else [-1.0, 1.0])
    settings: list[dict[str, Any]] = [
        {"C": 0.01},
        {"C": 1.0},
        {"C": 100.0},
        {"C": 1.0, "fit_intercept": False},
    ]
    solved, reader = solve(f"{LINEAR}.LogisticRegression", settings, form(X), y, weight, classes)
    assert len(reader.passes) <= 12
    assert not reader.notes
    labels = np.array(["a", "b", "c"])[:classes]
    for problem, solution in solved:
        setting = next(each for each in settings if str(each) == problem.candidate)
        rows = np.isin(CELLS, problem.fold.train)
        theirs = LogisticRegression(**setting, tol=1e-10, max_iter=10_000)
        theirs.fit(X[rows], labels[y[rows]], sample_weight=None if weight is None else weight[rows])
        ours = told(
            LogisticRegression(**setting), solution.coefficients, solution.intercept, labels, solution.passes
        )
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(ours.predict_proba(X[:50]), theirs.predict_proba(X[:50]), atol=1e-6)
        assert (ours.predict(X[:50]) == theirs.predict(X[:50])).all()


@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("kind", [PoissonRegressor, GammaRegressor])
def test_counts_and_positive_values_are_scikit_learns_also_far_from_one(kind, weight):
    mean = np.exp(0.4 * X @ COEF + 5.0)
    y = RNG.poisson(mean).astype(float) if kind is PoissonRegressor else RNG.gamma(2.0, mean / 2.0)
    settings = [{"alpha": alpha} for alpha in (0.0, 1e-3, 1.0)]
    solved, reader = solve(f"{LINEAR}.{kind.__name__}", settings, X, y, weight)
    assert not reader.notes
    for problem, solution in solved:
        setting = next(each for each in settings if str(each) == problem.candidate)
        rows = np.isin(CELLS, problem.fold.train)
        theirs = kind(**setting, tol=1e-10, max_iter=10_000, solver="newton-cholesky")
        theirs.fit(X[rows], y[rows], sample_weight=None if weight is None else weight[rows])
        ours = told(kind(**setting), solution.coefficients, solution.intercept, np.empty(0), solution.passes)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5, rtol=1e-5)
        assert ours.intercept_ == pytest.approx(theirs.intercept_, rel=1e-5)
        np.testing.assert_allclose(ours.predict(X[:50]), theirs.predict(X[:50]), rtol=1e-4)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantiles_are_near_those_of_the_linear_programme(quantile):
    y = X @ COEF + 2.0 + (1 + 0.5 * np.abs(X[:, 0])) * RNG.normal(size=N)
    settings = [{"quantile": quantile, "alpha": 0.0}]
    solved, _ = solve(f"{LINEAR}.QuantileRegressor", settings, X, y, folds=FOLDS[-1:])
    ((_, solution),) = solved
    assert solution.converged
    theirs = QuantileRegressor(quantile=quantile, alpha=0.0).fit(X, y)
    ours = told(
        QuantileRegressor(**settings[0]),
        solution.coefficients,
        solution.intercept,
        np.empty(0),
        solution.passes,
    )
    assert np.mean(y <= ours.predict(X)) == pytest.approx(quantile, abs=0.01)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=0.1)

    def pinball(model: Any) -> float:
        left = y - model.predict(X)
        return float(np.mean(np.maximum(quantile * left, (quantile - 1) * left)))

    assert pinball(ours) <= pinball(theirs) * 1.001


def test_complete_sets_of_categories_and_a_rare_one_converge_as_in_memory():
    code = RNG.choice(5, N, p=[0.4, 0.3, 0.2, 0.099, 0.001])
    hot = sparse.csr_matrix(np.column_stack([np.eye(5)[code], X[:, :2]]))
    y = (RNG.random(N) < 1 / (1 + np.exp(-(code - 1.5)))).astype(int)
    solved, _ = solve(f"{LINEAR}.LogisticRegression", [{"C": 1.0}], hot, y, classes=2, folds=FOLDS[-1:])
    theirs = LogisticRegression(tol=1e-10, max_iter=10_000).fit(hot, y)
    np.testing.assert_allclose(solved[0][1].coefficients[:, 0], theirs.coef_[0], atol=1e-4)


def test_a_run_that_was_stopped_goes_on_to_the_same_coefficients(tmp_path):
    y = (X @ COEF + RNG.logistic(size=N) > 0).astype(int)
    problems = [Problem("m", fold, 0, (Binary(),), 1.0, summed=True) for fold in FOLDS]

    class Stopping(MemoryReader):
        left = 3

        def reduce(self, *arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise InterruptedError
            return super().reduce(*arguments, **named)

        def recall(self, name: str, *_: Any) -> None:
            self.passes.append(f"{name} again")

    def run(left: int, place: str) -> tuple[Any, list[str]]:
        reader = Stopping(chunks(X, y), ledger=Ledger(str(tmp_path / place)))
        reader.left = left
        return minimise(cast("Any", reader), cast("Any", None), [(Kept(), D)], problems), reader.passes

    straight, passes = run(100, "a")
    with pytest.raises(InterruptedError):
        run(3, "b")
    resumed, again = run(100, "b")
    assert again == ["step 1 again", "step 2 again", "step 3 again", *passes[3:]]
    for mine, theirs in zip(resumed, straight, strict=True):
        assert mine.coefficients.tolist() == theirs.coefficients.tolist()
    # Of the problem on the most rows the curvature was measured, up to its end, and a run that has ended knows it as well.
    ended, _ = run(0, "a")
    design = np.column_stack([X, np.ones(N)])
    raw = design @ np.append(straight[-1].coefficients, straight[-1].intercept)
    p = 1 / (1 + np.exp(-raw))
    hessian = (design * (p * (1 - p))[:, None]).T @ design
    for found in (straight, resumed, ended):
        assert found[0].curvature is None
        np.testing.assert_allclose(found[-1].curvature, hessian, rtol=1e-5)


def test_wide_problems_go_by_diagonals_and_past_gradients(monkeypatch):
    monkeypatch.setattr("headrace.training.generalised_sums.FULL", 10)
    y = (X @ COEF + RNG.logistic(size=N) > 0).astype(int)
    solved, reader = solve(f"{LINEAR}.LogisticRegression", [{"C": 1.0}], X, y, classes=2)
    assert len(reader.passes) < 60
    theirs = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(solved[-1][1].coefficients[:, 0], theirs.coef_[0], atol=1e-4)


def test_one_curvature_serves_all_candidates_when_each_has_none():
    problems = [Problem(name, fold, 0, (Quantile(0.5),), 0.0) for name in ("a", "b") for fold in FOLDS]
    last, n = len(FOLDS) - 1, len(FOLDS)
    assert references(problems, [10] * 2 * n) == ([last] * n + [last + n] * n, False)
    assert references(problems, [4000] * 2 * n) == ([last] * 2 * n, False)
    assert references(problems, [5000] * 2 * n)[1]


def test_states_lose_nothing_when_written():
    first = Descent(np.arange(3.0))
    second = Descent(
        np.ones(3), 2.0, np.ones(3), np.ones(3), 0.5, ((np.ones(3), np.zeros(3)),), passes=4, converged=True
    )
    states, curvatures = load_states(dump_states([first, second], {1: np.eye(3)}))
    assert np.isinf(states[0].value)
    assert states[1].passes == 4
    assert states[1].converged
    assert states[1].pairs[0][1].tolist() == [0, 0, 0]
    assert curvatures[1].tolist() == np.eye(3).tolist()


def test_a_singular_curvature_is_lifted():
    matrix = np.ones((3, 3))
    solved = Curvature.of(matrix, np.zeros(3)).solve(np.ones(3))
    np.testing.assert_allclose(matrix @ solved, np.ones(3), rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("LogisticRegression", {"l1_ratio": 0.5}, "an l1 penalty is not smooth"),
        ("LogisticRegression", {"class_weight": "balanced"}, "train.class_weight"),
        ("QuantileRegressor", {}, "give alpha: 0"),
        ("PoissonRegressor", {}, "is for regression, not for classification"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_its_key(name, params, said):
    import sklearn.linear_model

    estimator = getattr(sklearn.linear_model, name)(**params)
    task = "regression" if name == "QuantileRegressor" else "classification"
    with pytest.raises(WorkflowError, match=rf"models\[1\].*{said}"):
        require_direct(f"{LINEAR}.{name}", estimator, task=task, where="models[1]")
