"""Coefficients of linear models: those of the estimator, in the order of their effect, with an interval or a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDRegressor
from sklearn.naive_bayes import GaussianNB

from headrace.evaluation import coefficients as module
from headrace.evaluation.coefficients import coefficients, why_not
from headrace.evaluation.understanding import columns_of, origins_of
from headrace.training.certainty import Certainty
from headrace.training.exact_families import principal_components

LEAST_SQUARES = "sklearn.linear_model.LinearRegression"


def told(small: Any, target: str, model: Any, path: str, certainty: Certainty | None = None) -> Any:
    held = small(target, model)
    names = held.preparation.layout.names
    origins = origins_of(held.preparation, columns_of(held.preparation.features_in, ()))
    return held, coefficients(held.asked, path, names, origins, certainty)


@pytest.mark.parametrize("target", ["label", "level", "amount"])
def test_values_are_those_of_the_estimator_and_the_largest_effect_comes_first(small, target):
    held, found = told(small, target, None, LEAST_SQUARES)
    names = list(held.preparation.layout.names)
    estimator = held.pipeline[-1]
    X = held.pipeline[:-1].transform(held.frame)
    spread = np.asarray(X.todense() if hasattr(X, "todense") else X).std(axis=0)
    values = np.atleast_2d(estimator.coef_)
    assert len(found.features) == values.size
    for each in found.features:
        output, place = held.asked.names.index(each.output), names.index(each.feature)
        assert each.value == values[output, place]
        assert each.effect == pytest.approx(abs(each.value) * spread[place], rel=1e-9, abs=1e-12)
        assert each.feature.removeprefix("missingindicator_").startswith(each.column)
    effects = [each.effect for each in found.features]
    assert effects == sorted(effects, reverse=True)
    assert found.intercept == tuple(np.atleast_1d(estimator.intercept_))


def test_intervals_stand_around_the_values_where_they_are_known(small):
    width = small("amount").asked.compiled.width
    errors = np.arange(1.0, width + 2)
    errors[0] = np.nan
    held, found = told(small, "amount", None, LEAST_SQUARES, Certainty(errors, np.inf))
    names = list(held.preparation.layout.names)
    for each in found.features:
        place = names.index(each.feature)
        if place == 0:
            assert each.low is each.high is None
        else:
            assert each.high - each.value == pytest.approx(1.959964 * errors[place])
            assert each.value - each.low == pytest.approx(1.959964 * errors[place])
    assert "Wald" in found.interval
    assert "differences alone" in found.why
    assert (
        "7 degrees"
        in told(small, "amount", None, LEAST_SQUARES, Certainty(np.ones(width + 1), 7.0))[1].interval
    )


def test_of_principal_components_the_coefficients_on_the_features_are_told(small):
    held, found = told(
        small, "amount", principal_components(3), "headrace.training.exact_families.principal_components"
    )
    X = held.asked.features(held.asked.table)
    names = list(held.preparation.layout.names)
    values = np.zeros(len(names))
    for each in found.features:
        values[names.index(each.feature)] = each.value
    np.testing.assert_allclose(X @ values + found.intercept[0], held.pipeline[-1].predict(X), rtol=1e-9)


def test_what_is_not_linear_has_none(small):
    assert told(small, "label", GaussianNB(), "sklearn.naive_bayes.GaussianNB")[1] is None


def test_of_very_many_the_smallest_are_left_out(small, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    _, found = told(small, "level", None, "sklearn.linear_model.LogisticRegression")
    assert len(found.features) == 2
    assert found.left_out > 10


@pytest.mark.parametrize(
    ("estimator", "path", "words"),
    [
        (SGDRegressor(), "sklearn.linear_model.SGDRegressor", "by steps on the stream"),
        (Ridge(), "sklearn.linear_model.Ridge", "penalty of Ridge"),
        (Ridge(alpha=0.0), "sklearn.linear_model.Ridge", "no simple distribution"),
        (LogisticRegression(), "sklearn.linear_model.LogisticRegression", "penalty of LogisticRegression"),
        (LogisticRegression(C=np.inf), "sklearn.linear_model.LogisticRegression", "without weights"),
        (LogisticRegression(), "dask_ml.linear_model.LogisticRegression", "dask-ml ends near the minimum"),
        (LinearDiscriminantAnalysis(), "sklearn.discriminant_analysis.LinearDiscriminantAnalysis", "no simple distribution"),
        (LinearRegression(), LEAST_SQUARES, "no simple distribution"),
    ],
)  # fmt: skip
def test_the_reason_names_what_is_in_the_way(estimator, path, words):
    assert words in why_not(estimator, path, None)


def test_where_all_have_an_interval_no_reason_is_needed():
    assert why_not(LinearRegression(), LEAST_SQUARES, Certainty(np.ones(3), 5.0)) == ""
