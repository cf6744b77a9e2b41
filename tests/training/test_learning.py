"""Labels as bytes: estimators learn the same from them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Perceptron, SGDClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neural_network import MLPClassifier

from headrace.training.learning import narrow_labels


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGDClassifier(loss="log_loss", average=True, random_state=0),
        lambda: Perceptron(random_state=0),
        GaussianNB,
        BernoulliNB,
        lambda: MLPClassifier((4,), random_state=0),
    ],
)
@pytest.mark.parametrize("classes", [(0, 1), (-3, 5, 90)])
def test_an_estimator_learns_the_same_from_labels_as_bytes(make, classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5))
    labels = np.asarray(classes)[rng.integers(0, len(classes), 600)]
    narrow = narrow_labels(labels, classes)
    assert narrow.dtype == np.int8
    plain, quick = make(), make()
    for part in (slice(0, 300), slice(300, 600)):
        plain.partial_fit(X[part], labels[part], classes=np.asarray(classes))
        quick.partial_fit(X[part], narrow[part], classes=np.asarray(classes))
    for name, value in vars(plain).items():
        if isinstance(value, np.ndarray):
            assert value.dtype == vars(quick)[name].dtype, name
            np.testing.assert_array_equal(value, vars(quick)[name], err_msg=name)
    np.testing.assert_array_equal(plain.predict(X), quick.predict(X))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([0, 1_000], (0, 1_000)),
        ([-129, 0], (-129, 0)),
        (["a", "b"], ("a", "b")),
        ([0.5, 1.5], (0.5, 1.5)),
        ([True, False], (False, True)),
    ],
)
def test_labels_that_no_byte_holds_stay_as_they_are(labels, classes):
    given = np.array(labels)
    assert narrow_labels(given, classes) is given
