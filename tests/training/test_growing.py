"""A booster that is gone on with after a loss is the one that had never stopped."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from headrace.data.storage import write_bytes
from headrace.training.growing import _Way

xgboost = pytest.importorskip("xgboost")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4000, 6)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] + RNG.normal(size=4000) > 0).astype(int)
PARAMS = {"max_depth": 3, "eta": 0.4, "objective": "binary:logistic", "eval_metric": "auc", "nthread": 1}  # fmt: skip


@pytest.fixture
def matrices() -> tuple[Any, Any]:
    train = xgboost.QuantileDMatrix(X[:3000], Y[:3000], nthread=1)
    return train, xgboost.QuantileDMatrix(X[3000:], Y[3000:], ref=train, nthread=1)


class LostError(Exception):
    pass


def lose_after(monkeypatch: pytest.MonkeyPatch, saves: int) -> list[str]:
    """Let the task end as soon as it has saved so often."""
    seen: list[str] = []

    def write(url: str, data: bytes) -> None:
        write_bytes(url, data)
        seen.append(url)
        if len(seen) == saves:
            raise LostError

    monkeypatch.setattr("headrace.training.growing.write_bytes", write)
    return seen


@pytest.mark.parametrize("patience", [None, 5])
def test_a_lost_booster_goes_on_to_the_identical_one(matrices, monkeypatch, tmp_path, patience):
    whole = _Way(45, patience, None, leads=True).train(PARAMS, *matrices)
    saved = str(tmp_path / "0.ubj")
    seen = lose_after(monkeypatch, 1)
    with pytest.raises(LostError):
        _Way(45, patience, saved, leads=True).train(PARAMS, *matrices)
    again = _Way(45, patience, saved, leads=True)
    assert again.train(PARAMS, *matrices) == whole
    assert len(seen) >= 1
    booster = xgboost.Booster(model_file=bytearray(whole))
    assert not booster.attributes().get("headrace_scores")
    if patience:
        assert booster.num_boosted_rounds() == 1 + int(np.argmax(again.scores)) < 45


def test_patience_ends_where_that_of_xgboost_does(matrices):
    train, held = matrices
    ours = xgboost.Booster(model_file=bytearray(_Way(200, 5, None, leads=True).train(PARAMS, train, held)))
    theirs = xgboost.train(PARAMS, train, 200, evals=[(held, "validation")],
                           early_stopping_rounds=5, verbose_eval=False)  # fmt: skip
    assert ours.num_boosted_rounds() == theirs.best_iteration + 1


def test_a_loss_rises_and_a_score_does_too(matrices):
    for metric in ("logloss", "auc"):
        way = _Way(3, 9, None, leads=True)
        way.train({**PARAMS, "eval_metric": metric}, *matrices)
        assert way.scores[-1] > way.scores[0], json.dumps(way.scores)
