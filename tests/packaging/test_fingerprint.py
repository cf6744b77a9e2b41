from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier

from headrace.packaging.fingerprint import model_digest
from headrace.packaging.trust import TRUSTED, dump_pipeline

SCRIPT = textwrap.dedent("""
    import sys, hashlib
    import numpy as np
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    from headrace.packaging.fingerprint import model_digest
    from headrace.packaging.trust import dump_pipeline
    junk = [object() for _ in range(int(sys.argv[1]))]
    X = np.array([["a"], ["b"], ["b"], ["c"]], dtype=object)
    model = make_pipeline(OneHotEncoder(), SGDClassifier(random_state=0, max_iter=3, tol=None))
    model.fit(X, [0, 1, 1, 0])
    print(model_digest(model), hashlib.sha256(dump_pipeline(model)).hexdigest())
""")


def fit_linear() -> SGDClassifier:
    X = np.random.default_rng(0).normal(size=(30, 3))
    return SGDClassifier(random_state=0, max_iter=3, tol=None).fit(X, X[:, 0] > 0)


def test_digest_survives_skops_for_every_kind(kind, fitted):
    pipeline = fitted(kind)
    again = skops.io.loads(skops.io.dumps(pipeline), trusted=list(TRUSTED))
    assert model_digest(again) == model_digest(pipeline)


def test_two_fits_alike_have_one_digest_and_one_file(kind, fresh):
    one, two = fresh(kind), fresh(kind)
    assert model_digest(one) == model_digest(two)
    assert dump_pipeline(one) == dump_pipeline(two)


def test_kinds_differ(fitted):
    kinds = ["sgd-classifier", "sgd-hinge", "naive-bayes", "mlp-classifier", "k-means", "dummy-classifier"]
    assert len({model_digest(fitted(kind)) for kind in kinds}) == len(kinds)


def test_two_processes_agree_on_digest_and_bytes():
    seen = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, junk],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for junk, seed in (("10", "1"), ("100000", "2"))
    }
    assert len(seen) == 1


@settings(max_examples=40, deadline=None)
@given(
    place=st.integers(0, 3),
    change=st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x != 0.0),
)
def test_any_changed_coefficient_changes_the_digest(place, change):
    model = fit_linear()
    before = model_digest(model)
    held = model.coef_ if place < 3 else model.intercept_
    index = (0, place) if place < 3 else (0,)
    old = held[index]
    held[index] = old + change
    assert (model_digest(model) != before) == (held[index] != old)


@settings(max_examples=25, deadline=None)
@given(ulps=st.integers(1, 3), place=st.integers(0, 2))
def test_one_unit_in_the_last_place_is_seen(ulps, place):
    model = fit_linear()
    before = model_digest(model)
    for _ in range(ulps):
        model.coef_[0, place] = np.nextafter(model.coef_[0, place], np.inf)
    assert model_digest(model) != before


def test_infrequent_categories_count(fresh, frame):
    pipeline = fresh("dummy-classifier")
    before = model_digest(pipeline)
    encoder = pipeline[0].named_transformers_["carrier"][-1]
    assert [list(found) for found in encoder.infrequent_categories_] == [["missing"]]
    frame["carrier"] = frame["carrier"].replace("zz", "AA")
    encoder.set_params(min_frequency=5).fit(frame[["carrier"]].fillna("missing"))
    changed = model_digest(pipeline)
    assert changed != before
    encoder.fit(frame[["carrier"]].fillna("missing").replace("AA", "missing"))
    assert model_digest(pipeline) != changed


def test_memory_order_scalar_type_and_random_state_do_not_count():
    model = fit_linear()
    before = model_digest(model)
    model.coef_ = np.asfortranarray(model.coef_)
    model.t_ = np.float64(model.t_)
    model.set_params(random_state=0)
    assert model_digest(model) == before
    model.set_params(random_state=np.random.RandomState(1))
    one = model_digest(model)
    model.set_params(random_state=np.random.RandomState(2))
    assert model_digest(model) == one


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([1, 2], [[1], 2]),
        ({"a": 1}, {"a": 1.0}),
        (True, 1),
        ("1", 1),
        (np.zeros(2, np.float32), np.zeros(2)),
        (np.zeros((2, 1)), np.zeros((1, 2))),
        (np.array(["a"], object), np.array(["b"], object)),
        (scipy.sparse.csr_matrix([[0, 1]]), scipy.sparse.csr_matrix([[1, 0]])),
        ({1, 2}, {1, 3}),
        (slice(0, 1), slice(0, 2)),
        (np.clip, np.abs),
    ],
)
def test_different_values_have_different_digests(one, two):
    assert model_digest(one) != model_digest(two)


def test_order_of_keys_and_sparse_format_do_not_count():
    assert model_digest({"a": 1, "b": 2}) == model_digest({"b": 2, "a": 1})
    matrix = scipy.sparse.random(5, 5, density=0.4, random_state=0)
    assert model_digest(matrix.tocsr()) == model_digest(matrix.tocsc())


def test_a_model_inside_itself_is_an_error_not_an_endless_walk():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(RecursionError, match="deeper"):
        model_digest(loop)
