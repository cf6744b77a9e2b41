"""Which way a candidate is fitted: from cross products, by steps, as trees, or on the stream; and paths of penalties."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from headrace.errors import WorkflowError
from headrace.training.clusterers import DRAWS, KMEANS, pass_name, require_clusterer
from headrace.training.dask_models import DASK_MODELS, require_solver
from headrace.training.exact_families import FAMILIES
from headrace.training.generalised_losses import MODELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.training.candidates import Candidate
    from headrace.training.options import ModelOptions


TREES = {"xgboost.XGBClassifier": "classification", "xgboost.XGBRegressor": "regression"}
"""Import paths, with the task of each."""


def is_direct(path: str) -> bool:
    """Whether the estimator at an import path is fitted outright, to all rows at once, and not on the stream."""
    return path in FAMILIES or path in MODELS or path in TREES or path in DASK_MODELS or path == KMEANS


def is_exact(path: str) -> bool:
    """Whether it is fitted from cross products, in one pass."""
    return path in FAMILIES


def spread_out(candidate: Candidate) -> tuple[Candidate, ...]:
    """Return one candidate for each penalty of a path: a list in place of a number.

    Parameters
    ----------
    candidate : Candidate
        Named ``ridge`` with ``alpha: [1, 10]`` it becomes ``ridge alpha=1`` and ``ridge alpha=10``.
    """
    path = candidate.estimator
    names = FAMILIES[path].path if path in FAMILIES else MODELS[path].path if path in MODELS else ()
    lists = {name: candidate.params[name] for name in names if isinstance(candidate.params.get(name), list)}
    if not lists:
        return (candidate,)
    found = []
    for values in product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        said = " ".join(
            f"{name}={value:g}" if isinstance(value, (int, float)) else f"{name}={value}"
            for name, value in chosen.items()
        )
        found.append(
            replace(candidate, name=f"{candidate.name} {said}", params={**candidate.params, **chosen})
        )
    return tuple(found)


def require_direct(path: str, estimator: Any, *, task: str, where: str) -> None:
    """Refuse the wrong task, and parameters that cannot be followed from sums over all rows.

    Raises
    ------
    WorkflowError
        Naming the key of the workflow file.
    """
    from_sums = FAMILIES.get(path) or MODELS.get(path)
    known = from_sums or DASK_MODELS.get(path)
    wanted = known.task if known else TREES.get(path) or ("clustering" if path == KMEANS else task)
    if wanted != task:
        raise WorkflowError(f"{path} is for {wanted}, not for {task}", where=f"{where}.estimator")
    if from_sums and (why := from_sums.refused(estimator)):
        raise WorkflowError(why, where=f"{where}.params")
    if path in DASK_MODELS:
        require_solver(estimator, where=where)
    if path in TREES and estimator.get_num_boosting_rounds() < 1:
        raise WorkflowError(
            "there must be a tree", where=f"{where}.params.n_estimators", mend="give 1 or more"
        )
    require_clusterer(path, estimator, where=where)


STEPS = 100
"""Passes that a generalised linear model, or steps that k-means may take when ``max_iter`` does not say: most take far fewer."""


READS = 2
"""Times at most that a solver of dask-ml goes over the chunks for each of its iterations."""


SWEEPS = 8
"""Times that XGBoost goes over the chunks of one fold, those of its validation rows included."""


def passes_of(models: Sequence[ModelOptions], epochs: int, folds: int = 1) -> list[str]:
    """Name the passes that training may take at most.

    Parameters
    ----------
    models : sequence of ModelOptions
        Of a workflow; without any the default candidates learn on the stream.
    epochs : int
        Of the stream.
    folds : int
        Each grows trees of its own.
    """
    paths = [model.estimator for model in models]
    steps = [int(model.params.get("max_iter", STEPS)) for model in models if model.estimator in MODELS]
    lloyd = [int(model.params.get("max_iter", STEPS)) for model in models if model.estimator == KMEANS]
    # Candidates that are fitted already are scored on the validation rows, which the first epoch holds.
    streamed = epochs if not paths or not all(is_direct(path) for path in paths) else 1
    return [
        *(["exact"] if any(is_exact(path) for path in paths) else []),
        *(f"step {number}" for number in range(1, max(steps, default=0) + 1)),
        *(pass_name(number) for number in range(1, DRAWS + 2 + max(lloyd) if lloyd else 1)),
        *(
            f"trees {fold} read {number}"
            for fold in range(folds if any(path in TREES for path in paths) else 0)
            for number in range(1, SWEEPS + 1)
        ),
        *(["scores"] if any(path in MODELS and MODELS[path].scatters for path in paths) else []),
        *(
            f"{model.name} {fold} read {number}"
            for model in models
            if model.estimator in DASK_MODELS
            for fold in range(folds)
            for number in range(1, READS * int(model.params.get("max_iter", STEPS)) + 3)
        ),
        *(f"epoch {number}" for number in range(1, streamed + 1)),
    ]
