"""The leaderboard: means over folds with intervals, differences to the best, costs, and the simplest that is as good (pure)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.training.candidates import bare, members_of, steps_of
from headrace.training.scoring import LOWER_IS_BETTER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.training.board import Trained, Training

LEVEL = 0.95


def leaderboard(training: Training) -> dict[str, Any]:
    """Write the leaderboard as the document ``leaderboard.json``.

    Returns
    -------
    dict
        ``metric``, ``folds``, and ``rows``, best first: of each candidate its scores, ``interval`` and
        ``standard_error`` of the mean over folds, ``difference`` to the best (``value, low, high``; of the metric, paired
        by fold), ``seconds`` of fitting, as `Trained.seconds` has them, ``model_bytes``, ``prediction_microseconds`` a row of many at once,
        ``complexity`` (learnt numbers that are not 0), and whether it is ``best`` or the ``simplest`` within one
        standard error of the best. What needs several folds is null without them; ``nested`` where folds are not nested.
    """
    best = training.best
    simplest = simplest_of(training)
    rows = [_row(each, best, training, simplest=each is simplest) for each in training.trained]
    nested = None if training.nested is None else training.nested.to_dict()
    return {"metric": training.metric, "folds": max(1, len(best.folds)), "nested": nested, "rows": rows}


def _row(each: Trained, best: Trained, training: Training, *, simplest: bool) -> dict[str, Any]:
    metric, ratio = training.metric, training.ratio
    values = fold_values(each, metric)
    mean = estimate(values, ratio)
    others = fold_values(best, metric)
    paired = each is not best and len(values) == len(others)
    apart = estimate([a - b for a, b in zip(values, others, strict=True)], ratio) if paired else None
    fitted = [one for one in (each.estimator, *(fold.estimator for fold in each.folds)) if one is not None]
    history = [{"epoch": epoch, "score": scores.get(metric)} for epoch, scores in enumerate(each.history, 1)]
    return {
        "candidate": each.candidate.name,
        "estimator": each.candidate.estimator,
        "params": {name: _plain(value) for name, value in each.candidate.params.items()},
        "prepare": each.candidate.prepare,
        "validation": each.scores,
        "interval": None if mean is None else [mean["low"], mean["high"]],
        "standard_error": None if mean is None else mean["standard_error"],
        "difference": apart,
        "folds": [
            {"validation": fold.scores, "best_epoch": fold.best_epoch, "seconds": fold.seconds}
            for fold in each.folds
        ],
        "epochs": len(each.history),
        "best_epoch": each.best_epoch,
        "history": [] if each.is_baseline else history,
        "seconds": each.seconds,
        "model_bytes": size(fitted[0]) if fitted else None,
        "prediction_microseconds": round(each.microseconds, 4) if each.rows else None,
        "validation_rows": each.rows,
        "complexity": round(sum(map(complexity, fitted)) / len(fitted)) if fitted else None,
        "dropped_after_rows": each.stopped or None,
        "failure": each.failure,
        "is_baseline": each.is_baseline,
        "best": each is best,
        "simplest": simplest,
    }


def fold_values(trained: Trained, metric: str) -> list[float]:
    """Return a metric of every fold, or nothing when it has no folds or is not defined in all of them."""
    if trained.failure or trained.stopped:
        return []
    values = [fold.scores.get(metric, math.nan) for fold in trained.folds]
    return [] if any(math.isnan(value) for value in values) else values


def estimate(values: Sequence[float], ratio: float) -> dict[str, float] | None:
    """Estimate a mean over folds, with the corrected resampled t-interval of Nadeau & Bengio (2003).

    Folds share training rows, so their scores are not independent: the variance of the mean is taken as
    ``(1 / J + ratio) * s**2``, not ``s**2 / J``.

    Parameters
    ----------
    values : sequence of float
        One a fold.
    ratio : float
        Validation rows of a fold over its training rows.

    Returns
    -------
    dict or None
        ``value``, ``low``, ``high``, ``standard_error``; None for fewer than two folds.
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    error = math.sqrt((1 / len(values) + ratio) * variance)
    reach = float(t.ppf(0.5 + LEVEL / 2, len(values) - 1)) * error
    return {"value": mean, "low": mean - reach, "high": mean + reach, "standard_error": error}


def simplest_of(training: Training) -> Trained | None:
    """Return the least complex candidate within one standard error of the best (Breiman et al. 1984); None without folds."""
    metric = training.metric
    bound = estimate(fold_values(training.best, metric), training.ratio)
    if bound is None:
        return None
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    near = [
        each
        for each in training.trained
        if not each.is_baseline
        and fold_values(each, metric)
        and sign * each.scores[metric] >= sign * bound["value"] - bound["standard_error"]
    ]
    return min(near, key=lambda each: sum(complexity(fold.estimator) for fold in each.folds), default=None)


def complexity(estimator: Any) -> int:
    """Count the learnt numbers of an estimator that are not 0: those of its public float arrays, or the nodes of its trees."""
    *before, last = steps_of(bare(estimator))
    parts = [*before, last] if before else members_of(last)
    if parts:
        return sum(map(complexity, parts))
    if hasattr(last, "get_booster"):
        return sum(tree.count("\n") for tree in last.get_booster().get_dump())  # a line each
    return sum(int(np.count_nonzero(array)) for array in _arrays(last, public=True))


def size(estimator: Any) -> int:
    """Sum up the bytes of the arrays that an estimator holds, or of its trees as XGBoost writes them."""
    *before, last = steps_of(bare(estimator))
    parts = [*before, last] if before else members_of(last)
    if parts:
        return sum(map(size, parts))
    if hasattr(last, "get_booster"):
        return len(last.get_booster().save_raw("ubj"))
    return sum(array.nbytes for array in _arrays(last, public=False))


def _arrays(estimator: Any, *, public: bool) -> list[Any]:
    found = []
    for name, value in vars(estimator).items():
        if public and (name.startswith("_") or not name.endswith("_")):
            continue
        held = value if isinstance(value, list) else [value]
        found += [
            array
            for array in held
            if isinstance(array, np.ndarray) and (array.dtype.kind == "f" or not public)
        ]
    return found


def _plain(value: Any) -> Any:
    """Write an infinite setting, such as ``C`` without a penalty, as JSON can."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
