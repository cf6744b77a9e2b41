"""Numbers judged together from cross products of chunks that drift: as scikit-learn's lasso and recursive elimination judge them in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_selection import RFE
from sklearn.linear_model import Lasso, LinearRegression

from headrace.errors import WorkflowError
from headrace.preparation.options import SelectOptions

if TYPE_CHECKING:
    from headrace.preparation.fitted import Preparation

NAMES = list("abcdef")


def drifting(rows: int = 900, gaps: float = 0.1) -> pa.Table:
    """Numbers that follow from each other and drift, with gaps; targets that need a, b and c."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(rows, 6)) @ (np.eye(6) + 0.4 * rng.normal(size=(6, 6)))
    X = (X + np.linspace(0, 1, rows)[:, None]) * [1, 10, 0.1, 3, 1, 100] + [5, 0, 0, -3, 1e3, 0]
    score = X[:, 0] - X[:, 1] / 10 + 4 * X[:, 2] + rng.normal(0, 0.5, rows)
    mask = rng.random(X.shape) < gaps
    columns = {name: pa.array(X[:, j], mask=mask[:, j]) for j, name in enumerate(NAMES)}
    return pa.table(
        {
            **columns,
            "word": np.array(["x", "y"])[rng.integers(0, 2, rows)],
            "amount": score * 3 + 7,
            "late": np.where(score > 5, "late", "fine"),
            "three": np.array(["p", "q", "r"])[np.digitize(score, [4.5, 6])],
        }
    )


def in_memory(table: pa.Table, target: str) -> tuple[Any, Any]:
    """Columns and target as a user of scikit-learn would bring them to the same scale."""
    frame = table.select(NAMES).to_pandas()
    X = frame.fillna(frame.mean()).to_numpy()
    y = table[target].to_numpy(zero_copy_only=False)
    Y = y[:, None] if target == "amount" else (y[:, None] == np.unique(y)).astype(float)
    return (*((each - each.mean(axis=0)) / each.std(axis=0) for each in (X, Y)),)


def scores(p: Preparation) -> dict[str, float]:
    return {item.name: float(item.why.split()[1]) for item in p.dropped if item.asked}


def survey_by(survey: Any, target: str, **select: Any) -> Preparation:
    table = drifting().select([*NAMES, "word", target])
    found: Preparation = survey(
        table, target, "regression" if target == "amount" else "classification", select=select
    )
    return found


@pytest.mark.parametrize("target", ["amount", "late", "three"])
def test_a_number_enters_at_the_penalty_of_scikit_learns_lasso(survey, target):
    table = drifting()
    X, Y = in_memory(table, target)
    p = survey_by(survey, target, by="l1", above=2.0)
    found = scores(p)
    assert p.features_in == ("word",)
    assert set(found) == set(NAMES)

    def in_use(alpha: float) -> Any:
        return np.any([Lasso(alpha, tol=1e-10, max_iter=10**5).fit(X, y).coef_ != 0 for y in Y.T], axis=0)

    for place, name in enumerate(NAMES):
        assert not in_use(found[name] * 1.01)[place]
        assert in_use(found[name] * 0.99)[place]
    strongest = np.abs(X.T @ Y / len(X)).max()
    assert max(found.values()) == pytest.approx(strongest, rel=1e-3)


@pytest.mark.parametrize("target", ["amount", "late", "three"])
def test_numbers_go_in_the_order_of_scikit_learns_elimination(survey, target):
    X, Y = in_memory(drifting(), target)
    ranking = (
        RFE(LinearRegression(), n_features_to_select=1).fit(X, Y if Y.shape[1] > 1 else Y[:, 0]).ranking_
    )
    for keep in (1, 3):
        p = survey_by(survey, target, by="recursive_elimination", keep=keep)
        assert p.features_in == (*np.array(NAMES)[ranking <= keep], "word")
        assert scores(p) == {NAMES[j]: 7 - ranking[j] for j in range(6) if ranking[j] > keep}


def test_columns_that_follow_from_each_other_or_do_not_vary_do_no_harm(survey):
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    table = pa.table(
        {
            "x": x,
            "twice": 2 * x,
            "still": pa.array(np.ones(300), mask=rng.random(300) < 0.5),
            "noise": rng.normal(size=300),
            "y": x + rng.normal(0, 0.1, 300),
        }
    )
    for by in ("l1", "recursive_elimination"):
        p = survey(table, "y", "regression", select={"by": by, "keep": 2})
        assert {"x", "twice"} & set(p.features_in)
        assert "still" not in p.features_in


def test_without_numbers_all_columns_stay(survey):
    words = drifting(60).select(["word", "late"])
    assert survey(words, "late", select={"by": "l1", "keep": 1}).features_in == ("word",)
    still = words.append_column("still", pa.array([1.0, None] * 30))
    p = survey(still, "late", select={"by": "l1", "keep": 1})
    assert set(p.features_in) == {"word", "still"}


def test_what_cannot_be_judged_together_is_refused(survey, prepare):
    table = drifting(60)
    with pytest.raises(WorkflowError, match="say it in prepare:"):
        prepare(table, select={"by": "l1", "keep": 1})
    with pytest.raises(WorkflowError, match="there is none that it could learn"):
        survey(table.select(NAMES), select={"by": "l1", "keep": 1})
    with pytest.raises(ValueError, match="in place of above"):
        SelectOptions(by="recursive_elimination", above=1.0)
