"""Baselines: the dummy predicts what the profile says of the target; one column and a linear model learn beside the others."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix
from sklearn.dummy import DummyClassifier, DummyRegressor

from headrace.accumulators.gram import Gram
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.profiling.profile import profile_table
from headrace.training.baseline import LINEAR, baseline, one_column, telling_column
from headrace.training.blocks import Target
from headrace.training.candidates import ONE_COLUMN, Candidate, build
from headrace.training.checkpoint import Learner, dump_estimator, load_estimator
from headrace.training.learning import learn
from headrace.training.prepared import Block, Prepared

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LABELS = np.array(["a", "b", "b", "c", "b", "a"])
VALUES = np.array([1.0, 2.5, -3.0, 4.0])


def test_a_class_is_predicted_with_its_share() -> None:
    profile = profile_table(pa.table({"y": LABELS}), target="y")["all"]
    dummy = baseline(profile, Target("y", ("a", "b", "c")))
    fitted = DummyClassifier(strategy="prior").fit(np.zeros((6, 1)), LABELS)
    assert dummy is not None
    np.testing.assert_allclose(dummy.predict_proba(np.zeros((2, 5))), fitted.predict_proba(np.zeros((2, 5))))


def test_class_weights_change_the_shares() -> None:
    profile = profile_table(pa.table({"y": LABELS}), target="y")["all"]
    dummy = baseline(profile, Target("y", ("a", "b", "c"), class_weight=(3.0, 2.0, 6.0)))
    assert dummy is not None
    np.testing.assert_allclose(dummy.predict_proba(np.zeros((1, 1))), [[1 / 3, 1 / 3, 1 / 3]])


def test_a_number_is_predicted_by_its_mean() -> None:
    profile = profile_table(pa.table({"y": VALUES}), target="y")["all"]
    dummy = baseline(profile, Target("y"))
    fitted = DummyRegressor().fit(np.zeros((4, 1)), VALUES)
    assert dummy is not None
    assert dummy.predict([[0.0]]) == pytest.approx(fitted.predict([[0.0]]))


def test_clusters_have_no_baseline() -> None:
    profile = profile_table(pa.table({"x": VALUES}))["all"]
    assert baseline(profile, Target(None)) is None


@pytest.fixture
def table() -> pa.Table:
    """Numbers and words, of which one word says nearly all."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    word = np.where(rng.random(400) < 0.9, np.array(["no", "yes"])[y], "perhaps")
    return pa.table({"noise": rng.normal(size=400), "hint": rng.normal(size=400) + y, "word": word, "y": y})


def test_the_column_that_tells_most_is_found(table: pa.Table) -> None:
    profile = profile_table(table, target="y")["all"]
    compiled = CompiledPreparation(
        fit_preparation(profile, PrepareOptions(), features=["noise", "hint", "word"])
    )
    assert telling_column(profile, compiled, Target("y", (0, 1)), None) == "word"
    few = CompiledPreparation(fit_preparation(profile, PrepareOptions(), features=["noise", "hint"]))
    assert telling_column(profile, few, Target("y", (0, 1)), None) == "hint"


def test_of_a_number_the_column_is_found_by_correlation(table: pa.Table) -> None:
    amount = table["hint"].to_numpy() * -2 + 1
    table = table.append_column("amount", pa.array(amount))
    profile = profile_table(table, target="amount")["all"]
    compiled = CompiledPreparation(fit_preparation(profile, PrepareOptions(), features=["noise", "hint"]))
    names = ("amount", "noise", "hint")
    gram = Gram.of(names, np.column_stack([table[name].to_numpy() for name in names]))
    assert telling_column(profile, compiled, Target("amount"), gram) == "hint"
    assert telling_column(profile, compiled, Target("amount"), None) is None


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_one_column_is_all_that_its_model_sees(kind: Callable[[NDArray[np.float64]], Any]) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 5)), rng.integers(0, 2, 300)
    block = Block(kind(X), y, None)
    learner = Learner(
        Candidate(ONE_COLUMN, LINEAR["classification"]), one_column((1, 3), 5, "classification", seed=0)
    )
    (learner,) = learn((learner,), Prepared((block,), (None,)), classes=(0, 1))
    assert learner.failure == ""
    alone = build(learner.candidate, seed=0).partial_fit(kind(X[:, [1, 3]]), y, classes=[0, 1])
    np.testing.assert_array_equal(learner.estimator.steps[-1][1].coef_, alone.coef_)
    np.testing.assert_array_equal(learner.estimator.predict(kind(X)), alone.predict(kind(X[:, [1, 3]])))


def test_one_column_of_very_many_is_written_as_few_bytes_and_read_back() -> None:
    width = 10_000
    pipeline = one_column((7,), width, "classification", seed=0)
    written = dump_estimator(pipeline)
    assert len(written) < 12 * width
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        assert len(archive.read("schema.json")) < 20_000
    read = load_estimator(written, "sklearn.linear_model._stochastic_gradient.SGDClassifier")
    assert read.steps[0][1].get_support(indices=True).tolist() == [7]
