"""Every family, penalty and fold from one set of products is what scikit-learn fits to the rows, to 1e-9."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge
from sklearn.naive_bayes import GaussianNB

from headrace.engine.folds import Fold, RowFolds
from headrace.errors import RunError, WorkflowError
from headrace.training.exact import (
    CellProducts,
    Measurement,
    dump_products,
    fit_exact,
    linear_terms,
    load_products,
    measure_products,
)
from headrace.training.exact_families import principal_components
from headrace.training.routes import require_direct
from headrace.training.sweeps import Rows

LINEAR = "sklearn.linear_model"
LDA = "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"
NB = "sklearn.naive_bayes.GaussianNB"
PCR = "headrace.training.exact_families.principal_components"

RNG = np.random.default_rng(0)
N, D, K = 3000, 8, 5
X = RNG.normal(size=(N, D)) @ RNG.normal(size=(D, D)) + np.linspace(-20, 20, D)
Y = X @ RNG.normal(size=D) + 3 + RNG.normal(size=N)
W = RNG.uniform(0.1, 3.0, N)
CELLS = RNG.integers(0, K, N)
LABELS = np.digitize(X[:, 0] + RNG.normal(size=N), [-22.0, -18.0])
FOLDS = (*RowFolds(K).folds, Fold("all", 0, tuple(range(K)), ()))
CLASSES = np.array(["a", "b", "c"])


def products(
    X: Any, y: Any, weight: Any = None, classes: int = 0, chunks: int = 4, cells: int = K
) -> CellProducts:
    """As the pass measures them: chunk by chunk, merged."""
    found: CellProducts | None = None
    for rows in np.array_split(np.arange(len(y)), chunks):
        part = Rows(X[rows], y[rows], None if weight is None else weight[rows], CELLS[rows][None])
        made = CellProducts.of(part, cells, classes)
        found = made if found is None else found.merge(made)
    assert found is not None
    return load_products(dump_products((found,)))[0]


def training_rows(fold: Fold) -> Any:
    return np.isin(CELLS, fold.train)


def close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("fold", FOLDS, ids=lambda fold: fold.name)
def test_every_penalty_of_every_fold_is_the_refit(fold, weight):
    measured = products(X, Y, weight)
    train = training_rows(fold)
    held = None if weight is None else weight[train]
    models = [
        LinearRegression(),
        *(Ridge(alpha=alpha) for alpha in (1e-3, 1.0, 1e3)),
        Ridge(alpha=2.0, fit_intercept=False),
        *(Lasso(alpha=alpha, tol=1e-14, max_iter=100_000) for alpha in (0.01, 0.3)),
        ElasticNet(alpha=0.1, l1_ratio=0.3, tol=1e-14, max_iter=100_000),
        Lasso(alpha=0.1, positive=True, tol=1e-14, max_iter=100_000),
    ]
    for model in models:
        kind, params = type(model), model.get_params()
        ours = fit_exact(kind(**params), measured.training(fold), path=f"{LINEAR}.{kind.__name__}")
        theirs = kind(**params).fit(X[train], Y[train], sample_weight=held)
        close(ours.coef_, theirs.coef_)
        close(ours.intercept_, np.asarray(theirs.intercept_))
        assert ours.get_params() == params


def test_sparse_rows_with_complete_sets_of_categories_have_the_least_coefficients():
    code = RNG.integers(0, 4, N)
    hot = np.column_stack([np.eye(4)[code], RNG.normal(size=N)])
    target = hot @ np.array([1.0, 2.0, 3.0, 4.0, 0.5]) + 0.1 * RNG.normal(size=N)
    ours = fit_exact(
        LinearRegression(),
        products(sparse.csr_matrix(hot), target).over(range(K)),
        path=f"{LINEAR}.LinearRegression",
    )
    theirs = LinearRegression().fit(hot, target)
    close(ours.coef_, theirs.coef_)
    assert ours.rank_ == theirs.rank_ == 4


@pytest.mark.parametrize("kept", [1, 3, D])
def test_regression_on_principal_components_is_the_pipeline(kept):
    ours = fit_exact(principal_components(kept), products(X, Y).over(range(K)), path=PCR)
    theirs = principal_components(kept).fit(X, Y)
    close(ours.predict(X[:100]), theirs.predict(X[:100]))
    mine, other = ours[0], theirs[0]
    assert isinstance(mine, PCA)
    for name in (
        "components_",
        "explained_variance_",
        "explained_variance_ratio_",
        "singular_values_",
        "mean_",
    ):
        close(getattr(mine, name), getattr(other, name))
    assert mine.n_samples_ == other.n_samples_
    coefficients, intercept = linear_terms(ours)
    close(X[:100] @ coefficients + intercept, theirs.predict(X[:100]))


@pytest.mark.parametrize(
    "model",
    [
        LinearDiscriminantAnalysis(),
        LinearDiscriminantAnalysis(priors=[0.2, 0.5, 0.3], store_covariance=False),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3),
    ],
    ids=str,
)
@pytest.mark.parametrize("classes", [2, 3])
def test_linear_discriminants_are_those_of_the_rows(model, classes):
    if model.priors is not None and classes == 2:
        pytest.skip("priors of three classes")
    codes = np.minimum(LABELS, classes - 1)
    labels = CLASSES[:classes]
    fold = FOLDS[1]
    measured = products(X, codes, classes=classes)
    ours = fit_exact(
        LinearDiscriminantAnalysis(**model.get_params()),
        measured.training(fold),
        path=LDA,
        classes=labels,
    )
    train = training_rows(fold)
    theirs = LinearDiscriminantAnalysis(**model.get_params()).fit(X[train], labels[codes[train]])
    close(ours.coef_, theirs.coef_)
    close(ours.intercept_, theirs.intercept_)
    close(ours.predict_proba(X[:100]), theirs.predict_proba(X[:100]))
    close(ours.means_, theirs.means_)
    assert ours.get_params() == theirs.get_params()
    if model.solver != "lsqr":
        close(np.abs(ours.transform(X[:50])), np.abs(theirs.transform(X[:50])))


@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
def test_naive_bayes_is_that_of_the_rows(weight):
    ours = fit_exact(
        GaussianNB(), products(X, LABELS, weight, classes=3).over(range(K)), path=NB, classes=CLASSES
    )
    theirs = GaussianNB().fit(X, CLASSES[LABELS], sample_weight=weight)
    for name in ("theta_", "var_", "class_prior_", "class_count_"):
        close(getattr(ours, name), getattr(theirs, name))
    close(ours.predict_proba(X[:100]), theirs.predict_proba(X[:100]))


def test_a_chunk_may_lack_a_segment_a_class_or_every_row():
    none = CellProducts.of(Rows(X[:0], LABELS[:0], None, CELLS[:0][None]), K, 3)
    whole = products(X, LABELS, classes=3)
    again = none.merge(whole)
    close(again.over(range(K)).products, whole.over(range(K)).products)
    with pytest.raises(RunError, match="class a has no training row"):
        fit_exact(GaussianNB(), none.over([0]), path=NB, classes=CLASSES)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"solver": "lsqr", "shrinkage": "auto"}, "an estimated shrinkage needs the rows"),
        ({"solver": "eigen"}, "solver: eigen needs the rows"),
        ({"solver": "lsqr", "priors": [0.5, 0.5]}, "with priors the covariance of each class"),
    ],
)
def test_discriminants_that_need_the_rows_are_refused_with_the_key(params, said):
    with pytest.raises(WorkflowError, match=rf"models\[0\].params: {said}"):
        require_direct(LDA, LinearDiscriminantAnalysis(**params), task="classification", where="models[0]")


def test_the_wrong_task_and_too_many_components_are_refused():
    with pytest.raises(WorkflowError, match="is for regression"):
        require_direct(f"{LINEAR}.Ridge", Ridge(), task="classification", where="models[0]")
    with pytest.raises(RunError, match="9 components of 8 features"):
        fit_exact(principal_components(9), products(X, Y).over([0]), path=PCR)


def test_a_kept_chunk_is_measured_without_being_read_and_wide_rows_are_told_of(monkeypatch):
    class Kept:
        def __call__(self, table: Any, chunk: Any) -> Rows:
            raise AssertionError

        def recall(self, chunk: Any) -> Rows | None:
            return Rows(X, Y, None, CELLS[None]) if chunk else None

    said: list[Any] = []

    class Reader:
        emit = said.append

        def reduce(self, source: Any, update: Any, merge: Any, *, name: str, form: Any) -> Any:
            assert update.recall(0) is None
            return merge(*[form.load(form.dump(update.recall(1)))] * 2)

    monkeypatch.setattr("headrace.training.exact.WIDE", 5)
    wanted = [Measurement(Kept(), K, D)]
    (found,) = measure_products(cast("Any", Reader()), cast("Any", None), wanted, classes=0)
    close(found.over(range(K)).products, 2 * products(X, Y).over(range(K)).products)
    assert "cross products of 8 features take 0 MiB" in said[0].text
    assert Measurement(Kept(), 5, 3000).bytes == 8 * 3001**2 * 5
