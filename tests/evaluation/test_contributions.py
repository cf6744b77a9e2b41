"""SHAP values of boosted trees add up to what the trees say, also when they are summed by column."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.evaluation.contributions import contributions, has_contributions, shap_values
from headrace.evaluation.understanding import columns_of, origins_of

xgboost = pytest.importorskip("xgboost")
SETTING = {"n_estimators": 20, "max_depth": 3, "random_state": 0}


def model_of(target: str):
    return xgboost.XGBRegressor(**SETTING) if target == "amount" else xgboost.XGBClassifier(**SETTING)


@pytest.mark.parametrize("target", ["level", "amount"])
def test_contributions_of_all_columns_add_up_to_the_margin(small, target):
    model = small(target, model_of(target))
    asked = model.asked
    assert has_contributions(asked.estimator)
    X = asked.features(asked.table)
    values = shap_values(asked.estimator, X)
    # What a sparse row does not store is missing to XGBoost, and 0 to everybody else.
    margin = asked.estimator.predict(
        X if isinstance(X, np.ndarray) else X.toarray(), output_margin=True
    ).reshape(asked.rows, -1)
    np.testing.assert_allclose(values.sum(axis=2), margin, rtol=1e-4, atol=1e-4)
    columns = columns_of(model.preparation.features_in, ())
    origins = origins_of(model.preparation, columns)
    found = contributions(asked, origins)
    assert {each.column for each in found.columns} == set(model.preparation.features_in)
    assert {each.column for each in found.columns[:3]} == {"x", "z", "city"}
    ours = {each.column: each for each in found.columns}
    of_city = [place for place, origin in enumerate(origins) if origin == "city"]
    size = np.abs(values[..., of_city].sum(axis=2)).mean(axis=0)
    np.testing.assert_allclose(ours["city"].by_output, size, rtol=1e-9)
    assert ours["city"].size == pytest.approx(size.mean())
    if target == "amount":
        added, stands = zip(*ours["x"].points, strict=True)
        place = [place for place, origin in enumerate(origins) if origin == "x"]
        np.testing.assert_allclose(added, values[: len(added), 0, place].sum(axis=1), atol=1e-6)
        assert np.corrcoef(stands, added)[0, 1] > 0.9  # the larger x, the more it adds
        assert {stands for _, stands in ours["city"].points} == {None}
    else:
        assert not any(each.points for each in found.columns)


def test_a_linear_model_has_none(small):
    assert not has_contributions(small("label").asked.estimator)
