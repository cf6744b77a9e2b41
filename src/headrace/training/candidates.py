"""An estimator by import path with one setting; good defaults; the dummy."""

from __future__ import annotations

import copy
import difflib
import importlib
import inspect
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.errors import MissingExtraError, WorkflowError
from headrace.training.clusterers import KMEANS
from headrace.training.dask_models import DASK_MODELS
from headrace.training.routes import STEPS, is_direct, require_direct, spread_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sklearn.base import BaseEstimator

    from headrace.training.options import ModelOptions

BASELINE = "baseline"
"""Name of the candidate that knows only the target's distribution."""
ONE_COLUMN, PLAIN_LINEAR = "baseline one column", "baseline linear"
"""Names of the candidates that see one column, and that are linear."""
BASELINES = frozenset({BASELINE, ONE_COLUMN, PLAIN_LINEAR})
ENSEMBLE = "ensemble"
"""Name of the candidate that is made of others."""

# Blocks come permuted, hence no shuffling within partial_fit; features come standardised, hence a constant step, whose
# noise Polyak-Ruppert averaging of the weights removes (Polyak & Juditsky 1992).
GOOD_DEFAULTS: dict[str, dict[str, Any]] = {
    "sklearn.linear_model.SGDClassifier": {
        "loss": "log_loss",
        "alpha": 1e-6,
        "learning_rate": "constant",
        "eta0": 0.01,
        "average": True,
        "shuffle": False,
    },
    "sklearn.linear_model.SGDRegressor": {
        "alpha": 1e-6,
        "learning_rate": "constant",
        "eta0": 0.001,
        "average": True,
        "shuffle": False,
    },
    "sklearn.neural_network.MLPClassifier": {"hidden_layer_sizes": (64, 32), "batch_size": 256},
    "sklearn.neural_network.MLPRegressor": {"hidden_layer_sizes": (64, 32), "batch_size": 256},
    # Of the solvers of dask-ml the exact one that knows penalties; features come standardised.
    **{path: {"solver": "lbfgs", "solver_kwargs": {"normalize": False}} for path in DASK_MODELS},
    "sklearn.cluster.MiniBatchKMeans": {"n_clusters": 8, "batch_size": 4096, "n_init": 3},
    KMEANS: {"max_iter": STEPS},  # each step is a pass
}

DEFAULT_CANDIDATES: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "classification": (
        ("logistic", "sklearn.linear_model.SGDClassifier", {}),
        ("logistic-smooth", "sklearn.linear_model.SGDClassifier", {"alpha": 1e-5}),
        ("logistic-smoother", "sklearn.linear_model.SGDClassifier", {"alpha": 1e-4}),
    ),
    "regression": (
        ("linear", "sklearn.linear_model.SGDRegressor", {}),
        ("linear-smooth", "sklearn.linear_model.SGDRegressor", {"alpha": 1e-4}),
        ("linear-robust", "sklearn.linear_model.SGDRegressor", {"loss": "huber"}),
    ),
    "clustering": (("k-means", "sklearn.cluster.MiniBatchKMeans", {}),),
}
"""Tried when a workflow names no models: by task, (name, estimator, hyperparameters)."""


@dataclass(frozen=True)
class Candidate:
    """An estimator with one setting of its hyperparameters."""

    name: str
    estimator: str
    """Import path."""
    params: dict[str, Any] = field(default_factory=dict)
    """What the user set; the rest are defaults."""
    prepare: dict[str, Any] = field(default_factory=dict)
    """What is different in the preparation: a dotted key of `prepare:` to its value."""


def candidates_of(models: Sequence[ModelOptions], *, task: str) -> tuple[Candidate, ...]:
    """List the candidates of a workflow, or the default ones when it names none.

    Raises
    ------
    WorkflowError
        When two have the same name, or an estimator cannot be built or does not learn from a stream.
    """
    if not models:
        return tuple(Candidate(*entry) for entry in DEFAULT_CANDIDATES[task])
    candidates: dict[str, Candidate] = {}
    for index, model in enumerate(models):
        where = f"models[{index}]"
        several = spread_out(Candidate(model.name, model.estimator, model.params))
        if not several:
            raise WorkflowError(
                "an empty list leaves no candidate", where=f"{where}.params", mend="give values"
            )
        for candidate in several:
            if candidate.name in candidates or candidate.name in BASELINES:
                raise WorkflowError(f"the name {candidate.name!r} is taken", where=f"{where}.name")
            estimator = build(candidate, seed=0, where=where)
            require_direct(candidate.estimator, estimator, task=task, where=where)
            require_parameters(estimator, task=task, where=f"{where}.params")
            candidates[candidate.name] = candidate
    return tuple(candidates.values())


def build(candidate: Candidate, *, seed: int, where: str = "models") -> BaseEstimator:
    """Make the unfitted estimator of a candidate.

    Parameters
    ----------
    candidate : Candidate
        What to build.
    seed : int
        Given as ``random_state`` when the estimator takes one and the user set none.
    where : str, optional
        Key of the workflow file, for errors.

    Raises
    ------
    WorkflowError
        When the class does not exist, does not take a parameter, or neither has ``partial_fit`` nor is fitted outright.
    """
    kind = _import(candidate.estimator, where)
    if inspect.isclass(kind):
        _require_stream(candidate, kind, where)
    known = _parameters(candidate.estimator, kind, where)
    for key in candidate.params:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise WorkflowError(
                f"{candidate.estimator} has no parameter {key!r}",
                where=f"{where}.params",
                mend=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}",
            )
    params = {**GOOD_DEFAULTS.get(candidate.estimator, {}), **candidate.params}
    if "random_state" in known:
        params.setdefault("random_state", seed)
    try:
        made: BaseEstimator = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in params.items()})
    except (TypeError, ValueError) as error:
        raise WorkflowError(
            f"{candidate.estimator} cannot be made: {error}", where=f"{where}.params"
        ) from error
    _require_stream(candidate, steps_of(made)[-1], where)
    return made


def _parameters(path: str, kind: Any, where: str) -> dict[str, None]:
    """Name what an estimator takes, in its own order."""
    try:
        known = dict.fromkeys(inspect.signature(kind).parameters)
        # XGBoost says what it takes elsewhere.
        return dict.fromkeys(kind().get_params()) if "kwargs" in known else known
    except (AttributeError, TypeError, ValueError) as error:
        raise WorkflowError(
            f"{path} is no estimator",
            where=f"{where}.estimator",
            mend="give the path of a class, such as sklearn.linear_model.SGDClassifier",
        ) from error


def require_parameters(estimator: Any, *, task: str, where: str) -> None:
    """Refuse values of parameters that scikit-learn refuses, before any data are read.

    It looks at them when it fits, and cannot be asked in another way: a copy is fitted to four rows.

    Raises
    ------
    WorkflowError
        With what scikit-learn says.
    """
    import numpy as np
    from sklearn.base import clone

    X, y = np.eye(4), np.arange(4) % 2 + (0 if task == "classification" else 1)
    for step in steps_of(estimator):
        if not type(step).__module__.startswith("sklearn."):
            continue
        if hasattr(step, "partial_fit") and getattr(step, "class_weight", None) == "balanced":
            raise WorkflowError(
                "weights of classes belong in train.class_weight", where=f"{where}.class_weight"
            )
        fresh = clone(step)
        labels = {"classes": [0, 1]} if capabilities(fresh).classes else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                getattr(fresh, "partial_fit", fresh.fit)(X, y, **labels)
            except Exception as error:
                # So few rows may be refused for reasons of their own; only what is said of a parameter is both.
                if isinstance(error, ValueError) and isinstance(error, TypeError):
                    raise WorkflowError(str(error).rstrip("."), where=where) from error


def _require_stream(candidate: Candidate, learns: Any, where: str) -> None:
    if not hasattr(learns, "partial_fit") and not is_direct(candidate.estimator):
        raise WorkflowError(
            f"{candidate.estimator} has no partial_fit, so it cannot learn from a stream",
            where=f"{where}.estimator",
            mend="choose one that has, such as sklearn.linear_model.SGDClassifier",
        )


def steps_of(estimator: Any) -> list[Any]:
    """List the steps of a pipeline, or an estimator that is none as the only one."""
    from sklearn.pipeline import Pipeline

    return [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]


def class_path(candidate: Candidate) -> str:
    """Return where the class of a candidate is defined, which may be elsewhere than where it is imported from."""
    kind = _import(candidate.estimator, "models")
    return f"{kind.__module__}.{kind.__qualname__}"


def _import(path: str, where: str) -> Any:
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, TypeError, ValueError) as error:
        if module_name == "xgboost":
            raise MissingExtraError.for_extra("xgboost", "boost") from error
        if module_name == "dask_ml.linear_model":
            raise MissingExtraError.for_extra("dask-ml", "dask-ml") from error
        raise WorkflowError(
            f"cannot import {module_name or path!r}: {error}",
            where=f"{where}.estimator",
            mend="give a full import path, such as sklearn.linear_model.SGDClassifier",
        ) from error
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, dir(module), 1)
        raise WorkflowError(
            f"{module_name} has no {name!r}",
            where=f"{where}.estimator",
            mend=f"did you mean {near[0]!r}?" if near else "look up its import path",
        )
    return getattr(module, name)


def in_double(estimator: Any) -> Any:
    """Copy a fitted estimator with its float32 arrays as float64, so that it takes the float64 rows of users.

    The values are the same to the last bit; some estimators, such as MiniBatchKMeans, refuse rows of another type
    than that of their arrays.
    """
    import numpy as np

    double = copy.deepcopy(estimator)
    for step in steps_of(double):
        for name, value in vars(step).items():
            if name.endswith("_") and isinstance(value, np.ndarray) and value.dtype == np.float32:
                setattr(step, name, value.astype(np.float64))
    return double


def bare(estimator: Any) -> Any:
    """Take off what was put around a fitted estimator: its threshold and its calibration."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    while isinstance(estimator, (CalibratedClassifierCV, FixedThresholdClassifier, FrozenEstimator)):
        estimator = estimator.estimator
    return estimator


def members_of(estimator: Any) -> list[Any]:
    """List what an ensemble is made of, its final estimator included; nothing of another estimator."""
    from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor

    if isinstance(estimator, (StackingClassifier, StackingRegressor)):
        return [*estimator.estimators_, estimator.final_estimator_]
    return list(estimator.estimators_) if isinstance(estimator, (VotingClassifier, VotingRegressor)) else []


@dataclass(frozen=True)
class Capabilities:
    """What an estimator's ``partial_fit`` takes."""

    sparse: bool
    wide: bool
    """Whether it is a pipeline that does more than pick columns: it may make many features of few, and so learns from a few
    thousand rows at a time."""
    classes: bool
    weight: bool


def capabilities(estimator: BaseEstimator) -> Capabilities:
    """Read from scikit-learn's tags and the signature what an estimator takes."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_selection import SelectorMixin
    from sklearn.utils import get_tags

    estimator = bare(estimator)
    *before, last = steps_of(estimator)
    # The baseline has no partial_fit; what it would take is then never asked for.
    known = inspect.signature(getattr(last, "partial_fit", last.fit)).parameters
    return Capabilities(
        # To XGBoost what a sparse row does not store is missing, and not 0.
        sparse=bool(get_tags(estimator).input_tags.sparse)
        and not type(estimator).__module__.startswith("xgboost")
        and all(capabilities(member).sparse for member in members_of(estimator)),
        wide=any(not isinstance(step, (ColumnTransformer, SelectorMixin)) for step in before),
        classes="classes" in known,
        weight="sample_weight" in known,
    )
