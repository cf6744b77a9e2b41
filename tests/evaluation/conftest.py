"""Small models of every kind of task, with test rows to ask them about and the pipelines that users have of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline

from headrace.evaluation.asked import Asked
from headrace.evaluation.testrows import HeldOutRows
from headrace.preparation.compiled import CompiledPreparation
from headrace.preparation.fitted import build_transformer, fit_preparation
from headrace.preparation.options import PrepareOptions
from headrace.profiling.profile import profile_table
from headrace.training.blocks import Target
from headrace.training.candidates import capabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from headrace.preparation.fitted import Preparation

LEARNT, TESTED = 1_500, 300


def made(seed: int, rows: int) -> pa.Table:
    """Columns of every kind, some of which tell the targets."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(10, 3, rows), rng.normal(size=rows)
    city = rng.choice(["a", "b", "c"], rows, p=[0.5, 0.3, 0.2])
    amount = x + 2.0 * z + 3.0 * (city == "a") + rng.normal(size=rows)
    return pa.table({
        "x": x,
        "z": pa.array(z, mask=rng.random(rows) < 0.1),
        "noise": rng.integers(0, 9, rows),
        "flag": rng.random(rows) < 0.5,
        "city": pa.array(city, mask=rng.random(rows) < 0.05),
        "when": pa.array(np.datetime64("2026-01-01T00", "us") + np.arange(rows) * np.timedelta64(1, "h")),
        "amount": amount,
        "label": np.where(amount > 13, "hi", "lo"),
        "level": np.digitize(amount, [9.0, 14.0]),
    })  # fmt: skip


@dataclass(frozen=True)
class Small:
    """A model with all that is known of it."""

    asked: Asked
    pipeline: Pipeline
    frame: pd.DataFrame
    """The test rows as users have them, in the order of `Asked.table`."""
    preparation: Preparation


@pytest.fixture(scope="session")
def small() -> Callable[..., Small]:
    """Fit a model to ``label``, ``level`` or ``amount``."""

    def fit(target: str, model: Any = None, weight: bool = False, **options: Any) -> Small:
        train, test = made(0, LEARNT), made(1, TESTED)
        names = [name for name in train.column_names if name not in {"amount", "label", "level"}]
        preparation = fit_preparation(profile_table(train)["all"], PrepareOptions(**options), features=names)
        classes = () if target == "amount" else tuple(np.unique(train[target].to_numpy()).tolist())
        model = model or (LogisticRegression(max_iter=300) if classes else LinearRegression())
        transformer = build_transformer(preparation, dense=not capabilities(model).sparse)
        labels = train[target].to_numpy()
        model.fit(transformer.transform(train.to_pandas()), labels)
        read = Target(target, classes)
        keys = np.random.default_rng(2).permutation(TESTED).astype(np.uint64)
        weights = np.random.default_rng(3).random(TESTED) + 0.5 if weight else None
        held = HeldOutRows("classification" if classes else "regression")
        truth = read.codes(test)
        said = np.full((TESTED, len(classes)), 1 / len(classes)) if len(classes) > 2 else np.full(TESTED, 0.5)
        held.update(keys, test.select(list(preparation.features_in)), truth, said, weights)
        asked = Asked.of(model, CompiledPreparation(preparation), preparation.layout, read, held.task, held)
        assert asked is not None
        frame = test.take(pa.array(np.argsort(keys))).to_pandas()
        return Small(asked, Pipeline([("prepare", transformer), ("model", model)]), frame, preparation)

    return fit
