"""Generalised linear models to convergence: each step of all penalties and folds is one pass over prepared rows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.engine.commits import Form
from headrace.engine.events import Note
from headrace.training.deadline import never
from headrace.training.generalised_losses import Scores
from headrace.training.generalised_steps import Curvature, Descent, advance, next_stage
from headrace.training.generalised_sums import Asked, dump_sums, load_sums, references
from headrace.training.sweeps import Sweep, merge_parts, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.training.generalised_sums import Answer, Problem, Sums
    from headrace.training.sweeps import RowsOf

    Numbers = NDArray[np.float64]

STEP = "generalised"
"""Fact of the ledger: a step of all minimisations is done."""


@dataclass(frozen=True)
class Solution:
    """Where a problem's minimisation ended."""

    coefficients: Numbers
    """Shape (features, outputs)."""
    intercept: Numbers
    """Shape (outputs,)."""
    passes: int
    converged: bool
    curvature: Numbers | None = None
    """Second derivatives of the summed losses, the intercept last, where they were measured at every step of its own; not those of
    a penalty, and of several outputs steep where all move alike."""


def minimise(
    reader: Reader,
    source: Source,
    ways: Sequence[tuple[RowsOf, int]],
    problems: Sequence[Problem],
    *,
    outputs: int = 1,
    mean: float = 0.0,
    name: str = "",
    late: Callable[[], bool] = never,
) -> tuple[Solution, ...]:
    """Minimise all problems side by side, one pass over the data a step.

    Every penalty and fold takes its own steps. Curvature is measured at one problem of each candidate, that on the most
    rows, whose step is Newton's; the folds of the candidate that see the same features, and so have nearly the same
    curvature, use it too, and their own gradients mend the difference.

    Parameters
    ----------
    reader : Reader
        Runs the passes; with a ledger each step is committed.
    source : Source
        The chunks.
    ways : sequence of (RowsOf, int)
        Ways to prepare rows, each with its number of features. Those that keep rows make that only the first step
        reads files.
    problems : sequence of Problem
    outputs : int
        Raw predictions of a row: classes of more than two, else 1.
    mean : float
        Of the target, to begin with.
    name : str
        Begins the names of its passes and of its fact in the ledger.
    late : callable
        Tells before each pass but the first two, which make a step, whether there is no time for it; minimisations end where they
        are then.

    Returns
    -------
    tuple of Solution
        In the order of `problems`.
    """
    widths = [ways[problem.rows][1] for problem in problems]
    states = [
        Descent(_begin(problem, width, outputs, mean))
        for problem, width in zip(problems, widths, strict=True)
    ]
    reference, diagonal = references(problems, [(width + 1) * outputs for width in widths])
    curvatures: dict[int, Numbers] = {}
    weights = [0.0] * len(states)
    done = _known(reader, source, states, curvatures, weights, name)
    while any(not state.done for state in states) and not (done > 1 and late()):
        done += 1
        active = [index for index, state in enumerate(states) if not state.done]
        ask = Asked.of(problems, states, active, reference, outputs, diagonal=diagonal)
        sums: tuple[Sums, ...] = reader.reduce(
            source,
            Sweep(tuple((ways[way][0], evaluation) for way, evaluation in ask.evaluations.items())),
            merge_parts,
            name=f"{name}step {done}",
            form=Form(dump_sums, load_sums),
        )
        found = ask.answers(sums)
        for index in ask.measured:
            weight, _, _, curvature = found[index]
            assert curvature is not None, "it was asked for"
            curvatures[index] = _without_ties(curvature / max(weight, np.finfo(float).tiny), outputs)
        for index in active:
            weights[index] = found[index][0]
            own = index in ask.measured and not diagonal
            curvature = curvatures[reference[index]]
            states[index] = _step(problems[index], states[index], found[index], curvature, outputs, own=own)
        _commit(reader, states, curvatures, weights, done, name)
    for problem, state in zip(problems, states, strict=True):
        if not state.converged:
            where = f"{problem.candidate} ({problem.fold.name})"
            why = "" if state.done else ", after which the time for the search ends"
            reader.emit(Note(f"{where} did not converge in {state.passes} passes{why}"))
    whole = {index: curvature * weights[index] for index, curvature in curvatures.items() if not diagonal}
    return tuple(
        _solution(state, width, outputs, whole.get(index))
        for index, (state, width) in enumerate(zip(states, widths, strict=True))
    )


def scatter_scores(
    reader: Reader,
    source: Source,
    ways: Sequence[tuple[RowsOf, int]],
    problems: Sequence[Problem],
    solutions: Sequence[Solution],
    *,
    name: str = "",
) -> tuple[tuple[float, Numbers, Numbers], ...]:
    """Sum up, in one pass, how the scores of the rows scatter where minimisations have ended, and the curvature there.

    Of quantiles the curvature is that of the bandwidth before the last one, which is that of He et al. (2023): the last is so small
    that few rows are near enough to tell the density.

    Parameters
    ----------
    reader, source, ways, problems
        As of `minimise`, of one output.
    solutions : sequence of Solution
        From `minimise`.
    name : str
        Begins the name of the pass.

    Returns
    -------
    tuple of (float, ndarray, ndarray)
        Of each problem the weight of its rows, the sum of squared first derivatives by the raw prediction, times the products
        of features, and that of second ones; both of shape (features + 1, features + 1).
    """
    count = len(problems)
    ended = [Descent(np.concatenate([each.coefficients, each.intercept[None]]).ravel()) for each in solutions]
    squared = [replace(problem, losses=(Scores(problem.losses[-1]),)) for problem in problems]
    wide = [replace(problem, losses=problem.losses[-2:][:1]) for problem in problems]
    ask = Asked.of([*squared, *wide], [*ended, *ended], range(2 * count), range(2 * count), 1, diagonal=False)
    sums: tuple[Sums, ...] = reader.reduce(
        source,
        Sweep(tuple((ways[way][0], evaluation) for way, evaluation in ask.evaluations.items())),
        merge_parts,
        name=f"{name}scores",
        form=Form(dump_sums, load_sums),
    )
    answers, found = ask.answers(sums), []
    for index in range(count):
        (weight, _, _, scatter), (_, _, _, curvature) = answers[index], answers[count + index]
        assert scatter is not None, "it was asked for"
        assert curvature is not None, "it was asked for"
        found.append((weight, scatter, curvature))
    return tuple(found)


def _without_ties(curvature: Numbers, outputs: int) -> Numbers:
    """Make the direction steep in which all outputs move alike: the loss is level there, and no gradient points that way."""
    if outputs == 1 or curvature.ndim == 1:
        return curvature
    scale = float(np.diag(curvature).max(initial=0.0))
    return curvature + np.kron(np.eye(len(curvature) // outputs), np.full((outputs, outputs), scale))


def _begin(problem: Problem, width: int, outputs: int, mean: float) -> Numbers:
    point = np.zeros((width + 1, outputs))
    if problem.intercept:
        point[-1] = problem.losses[0].start(mean)
    return point.ravel()


def _step(
    problem: Problem,
    state: Descent,
    found: Answer,
    curvature: Numbers,
    outputs: int,
    *,
    own: bool,
) -> Descent:
    weight, value, gradient, _ = found
    if weight <= 0:
        return replace(state, done=True)
    trial = state.trial
    strength = problem.penalty / weight if problem.summed else problem.penalty
    penalty = np.full(len(trial), strength)
    penalty[-outputs:] = 0.0
    gradient = gradient / weight + penalty * trial
    matrix = curvature
    if not problem.intercept:
        gradient[-outputs:] = 0.0
        penalty[-outputs:] = 1.0
        if matrix.ndim == 2:
            matrix = matrix.copy()
            matrix[-outputs:, :] = matrix[:, -outputs:] = 0.0
    value = value / weight + strength / 2 * float(trial[:-outputs] @ trial[:-outputs])
    now = advance(state, value, gradient, Curvature.of(matrix, penalty), own=own, most=problem.most)
    if now.converged and now.stage + 1 < len(problem.losses):
        return next_stage(now)
    return now


def _solution(state: Descent, width: int, outputs: int, curvature: Numbers | None) -> Solution:
    point = state.point.reshape(width + 1, outputs)
    return Solution(point[:-1].copy(), point[-1].copy(), state.passes, state.converged, curvature)


PLAIN = ("value", "step", "passes", "stage", "done", "converged")
"""What the ledger holds of a minimisation as JSON; the rest are arrays."""


def dump_states(states: Sequence[Descent], curvatures: dict[int, Numbers]) -> bytes:
    """Write minimisations and the curvatures they use as a numpy archive of plain arrays."""
    arrays: dict[str, Any] = {f"curvature.{index}": matrix for index, matrix in curvatures.items()}
    plain = []
    for index, state in enumerate(states):
        said = {name: value for name, value in asdict(replace(state, pairs=())).items() if name in PLAIN}
        plain.append({**said, "value": str(state.value)})
        arrays |= {f"{name}.{index}": getattr(state, name) for name in ("point", "gradient", "direction")}
        if state.pairs:
            arrays[f"pairs.{index}"] = np.array(state.pairs)
    arrays["plain"] = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    return packed(arrays)


def load_states(piece: bytes) -> tuple[list[Descent], dict[int, Numbers]]:
    """Rebuild from `dump_states`; nothing is unpickled."""
    arrays = unpacked(piece)
    states = []
    for index, said in enumerate(json.loads(arrays["plain"].tobytes())):
        held = {name: arrays[f"{name}.{index}"] for name in ("point", "gradient", "direction")}
        pairs = tuple((step, change) for step, change in arrays.get(f"pairs.{index}", ()))
        states.append(Descent(**{**said, "value": float(said["value"])}, **held, pairs=pairs))
    curvatures = {
        int(name.partition(".")[2]): matrix
        for name, matrix in arrays.items()
        if name.startswith("curvature.")
    }
    return states, curvatures


def _known(
    reader: Reader,
    source: Source,
    states: list[Descent],
    curvatures: dict[int, Numbers],
    weights: list[float],
    name: str,
) -> int:
    """Go on after the last step that the ledger knows, and count those before."""
    known = None if reader.ledger is None else reader.ledger.state.facts.get(f"{name}{STEP}")
    if known is None or reader.ledger is None:
        return 0
    states[:], found = load_states(reader.ledger.read(known.payloads["states"]))
    curvatures.update(found)
    weights[:] = known.body["weights"]
    done = int(known.body["step"])
    for step in range(1, done + 1):
        reader.recall(f"{name}step {step}", source, Form(dump_sums, load_sums))
    return done


def _commit(
    reader: Reader,
    states: Sequence[Descent],
    curvatures: dict[int, Numbers],
    weights: Sequence[float],
    done: int,
    name: str,
) -> None:
    if reader.ledger is not None:
        payload = {"states": dump_states(states, curvatures)}
        body = {"step": done, "weights": list(weights)}
        reader.ledger.append(f"{name}{STEP}", body, payload, frees=[f"{name}step {done}"])
