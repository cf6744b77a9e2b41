"""A model that is asked about test rows says what its pipeline says of them to users."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("target", ["label", "level", "amount"])
def test_what_is_said_is_what_the_pipeline_says(small, target):
    model = small(target, weight=True)
    asked, frame = model.asked, model.frame
    np.testing.assert_array_equal(asked.y, frame[target])
    said = asked.said(asked.features(asked.table))
    if target == "amount":
        wanted = model.pipeline.predict(frame)
    else:
        wanted = model.pipeline.predict_proba(frame)
        wanted = wanted[:, 1] if target == "label" else wanted
    np.testing.assert_allclose(said, wanted, rtol=1e-9)
    assert asked.names == {"label": ("lo",), "level": ("0", "1", "2"), "amount": ("amount",)}[target]
    assert asked.first(30).rows == 30
    np.testing.assert_array_equal(asked.first(30).weight, asked.weight[:30])
