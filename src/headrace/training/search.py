"""Which candidates are tried next, as a function of the seed and of what was learnt of those before (pure)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import MissingExtraError, WorkflowError
from headrace.training.candidates import Candidate
from headrace.training.rungs import halving_rungs, hyperband_brackets
from headrace.training.variants import PREPARE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.training.options import ModelOptions
    from headrace.training.rungs import Rung
    from headrace.training.spaces import Range, Search

MOST_OF_A_GRID = 10_000


@dataclass(frozen=True)
class Round:
    """Candidates that are trained together."""

    number: int
    """Counted from 1."""
    first: int
    """Number of the first one among all that are sought, from 0."""
    count: int

    @property
    def name(self) -> str:
        """Begins the names of its passes."""
        return "" if self.number == 1 else f"round {self.number} "


def rounds_of(search: Search, models: Sequence[ModelOptions], more: Sequence[int] = ()) -> tuple[Round, ...]:
    """Plan the rounds of a search: one, for Bayesian search one a batch, and those of what was asked for later.

    Parameters
    ----------
    search : Search
        The key `search:`.
    models : sequence of ModelOptions
        The key `models:`.
    more : sequence of int
        Candidates that were added to the search since.
    """
    if search.kind == "grid":
        return (Round(1, 0, sum(grid_size(model) for model in models)),)
    sizes: list[int] = []
    for count in (search.candidates, *more):
        size = search.batch if search.kind == "bayes" else count
        sizes += [min(size, count - first) for first in range(0, count, size)]
    return tuple(Round(k + 1, sum(sizes[:k]), size) for k, size in enumerate(sizes))


def ask(
    search: Search,
    models: Sequence[ModelOptions],
    round_: Round,
    told: Sequence[tuple[Candidate, float]],
    *,
    seed: int,
) -> tuple[Candidate, ...]:
    """Choose the candidates of a round.

    Models take turns; candidate i of a search is the same however many there are. Models without a space are tried once, in
    the first round.

    Parameters
    ----------
    search, models
        As of `rounds_of`.
    round_ : Round
        Which one.
    told : sequence of (Candidate, float)
        Candidates of earlier rounds and what each reached, the higher the better; minus infinity for failures.
    seed : int
        Of the run.
    """
    fixed = tuple(Candidate(model.name, model.estimator, model.params) for model in models if not model.space)
    open_ = [model for model in models if model.space]
    start = fixed if round_.number == 1 else ()
    if not open_:
        return start
    if search.kind == "grid":
        return (*start, *itertools.chain.from_iterable(_grid(model) for model in open_))
    places = range(round_.first, round_.first + round_.count)
    if search.kind == "bayes" and round_.number > 1:
        found = []
        for model in open_:
            wanted = [nth for owner, nth in (draw_place(open_, place) for place in places) if owner is model]
            found += _promising(model, wanted, told, seed=seed, number=round_.number)
        return (*start, *found)
    return (*start, *(_drawn(*draw_place(open_, place), seed=seed) for place in places))


def draw_place(models: Sequence[ModelOptions], place: int) -> tuple[ModelOptions, int]:
    """Return the model of candidate `place`, and which one of that model it is."""
    return models[place % len(models)], place // len(models)


def rungs_of(search: Search, names: Sequence[str], *, most: int) -> tuple[Rung, ...]:
    """Plan where candidates are dropped; nowhere but in halving and Hyperband.

    Parameters
    ----------
    search : Search
    names : sequence of str
        The candidates of a round.
    most : int
        Rows that the last ones read.
    """
    if search.kind == "halving":
        return halving_rungs(names, most=most, eta=search.eta)
    if search.kind != "hyperband":
        return ()
    rungs: list[Rung] = []
    first = 0
    for size, borders in hyperband_brackets(len(names), eta=search.eta):
        members = names[first : first + size]
        rungs += halving_rungs(members, most=most, eta=search.eta, borders=borders)
        first += size
    return tuple(sorted(rungs, key=lambda rung: (rung.rows, min(rung.members))))


def most_preparations(search: Search, models: Sequence[ModelOptions]) -> int:
    """Count the ways to prepare rows that one round may need at once, at most."""
    found = 1
    for model in models:
        choices = [values for key, values in model.space.items() if key.startswith(PREPARE)]
        if choices:
            found += math.prod(
                len(values) if isinstance(values, list) else MOST_OF_A_GRID for values in choices
            )
    return min(found, max(each.count for each in rounds_of(search, models)) + len(models))


def grid_size(model: ModelOptions) -> int:
    """Count the combinations of a model's space.

    Raises
    ------
    WorkflowError
        When there are more than `MOST_OF_A_GRID`.
    """
    size = math.prod(len(_steps(values)) for values in model.space.values())
    if size > MOST_OF_A_GRID:
        raise WorkflowError(
            f"the grid of {model.name!r} has {size:,} combinations",
            where="search.kind",
            mend="use random, or fewer values",
        )
    return size


def one_by_one(model: ModelOptions) -> list[Candidate]:
    """Return candidates in which every value of every list, and the low end of every range, occurs once."""
    return [
        _candidate(model, 0, {key: value})
        for key, values in model.space.items()
        for value in (values if isinstance(values, list) else [values.low])
    ]


def _grid(model: ModelOptions) -> list[Candidate]:
    combinations = itertools.product(*(_steps(values) for values in model.space.values()))
    return [
        _candidate(model, number, dict(zip(model.space, values, strict=True)))
        for number, values in enumerate(combinations)
    ]


def _steps(values: Range | list[Any]) -> list[Any]:
    if isinstance(values, list):
        return values
    spaced = np.geomspace if values.log else np.linspace
    points = spaced(values.low, values.high, values.steps)
    if values.whole:
        return sorted({round(float(point)) for point in points})
    return [float(point) for point in points]


def _drawn(model: ModelOptions, number: int, *, seed: int) -> Candidate:
    rng = np.random.default_rng([seed, *model.name.encode(), number])
    return _candidate(model, number, {key: _draw(values, rng) for key, values in model.space.items()})


def _draw(values: Range | list[Any], rng: np.random.Generator) -> Any:
    if isinstance(values, list):
        return values[int(rng.integers(len(values)))]
    if values.log:
        drawn = math.exp(rng.uniform(math.log(values.low), math.log(values.high)))
        return min(max(round(drawn), values.low), values.high) if values.whole else drawn
    if values.whole:
        return int(rng.integers(int(values.low), int(values.high), endpoint=True))
    return float(rng.uniform(values.low, values.high))


def _candidate(model: ModelOptions, number: int, values: Mapping[str, Any]) -> Candidate:
    params = {key: value for key, value in values.items() if not key.startswith(PREPARE)}
    prepare = {key.removeprefix(PREPARE): value for key, value in values.items() if key.startswith(PREPARE)}
    return Candidate(f"{model.name} {number + 1}", model.estimator, {**model.params, **params}, prepare)


def _promising(
    model: ModelOptions,
    wanted: Sequence[int],
    told: Sequence[tuple[Candidate, float]],
    *,
    seed: int,
    number: int,
) -> list[Candidate]:
    """Ask Optuna for candidates, after telling it of those before; a function of its arguments alone."""
    optuna = _optuna()
    random = int(np.random.default_rng([seed, number, *model.name.encode()]).integers(2**31))
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=random))
    space = tell(study, model, told)
    found = []
    for nth in wanted:
        params = study.ask(space).params
        values = {
            key: held[params[key]] if isinstance(held, list) else params[key]
            for key, held in model.space.items()
        }
        found.append(_candidate(model, nth, values))
    return found


def tell(study: Any, model: ModelOptions, told: Sequence[tuple[Candidate, float]]) -> dict[str, Any]:
    """Add the candidates of a model to an Optuna study; a choice stands there as its place in the list.

    Parameters
    ----------
    study : optuna.Study
        Without trials.
    model : ModelOptions
        Whose candidates are added.
    told : sequence of (Candidate, float)
        Candidates, of other models too, and what each reached, the higher the better; minus infinity for failures.

    Returns
    -------
    dict of str to optuna.distributions.BaseDistribution
        The space of the study.
    """
    optuna = _optuna()
    space = {key: _distribution(values) for key, values in model.space.items()}
    for candidate, score in told:
        if candidate.name.rpartition(" ")[0] != model.name:
            continue
        values = {
            **candidate.params,
            **{f"{PREPARE}{key}": value for key, value in candidate.prepare.items()},
        }
        params = {
            key: held.index(values[key]) if isinstance(held, list) else values[key]
            for key, held in model.space.items()
        }
        fine = math.isfinite(score)
        state = optuna.trial.TrialState.COMPLETE if fine else optuna.trial.TrialState.FAIL
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=space, value=score if fine else None, state=state
            )
        )
    return space


def journal(path: str, models: Sequence[ModelOptions], told: Sequence[tuple[Candidate, float]]) -> None:
    """Write what was learnt as a journal of Optuna, one study a model, for its dashboard and its plots.

    Parameters
    ----------
    path : str
        A local file, which must not exist.
    models, told
        As of `ask`.
    """
    optuna = _optuna()
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(path))
    for model in models:
        if model.space:
            study = optuna.create_study(study_name=model.name, storage=storage, direction="maximize")
            tell(study, model, told)


def _distribution(values: Range | list[Any]) -> Any:
    optuna = _optuna()
    if isinstance(values, list):
        return optuna.distributions.CategoricalDistribution(list(range(len(values))))
    kind = optuna.distributions.IntDistribution if values.whole else optuna.distributions.FloatDistribution
    return kind(values.low, values.high, log=values.log)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError.for_extra("optuna", "search") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
