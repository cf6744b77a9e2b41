"""Candidates that are fitted outright, not on the stream: in the folds of a run, and at its end to all rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from headrace.errors import RunError
from headrace.profiling.remembering import may_remember
from headrace.training.deadline import Deadline
from headrace.training.direct import Direct, Outcome, Refit
from headrace.training.references import keep_reference, recall_reference, refit_maps, serves
from headrace.training.routes import TREES, is_direct, is_exact
from headrace.training.trees import grown_rounds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.preparation.options import PrepareOptions
    from headrace.profiling.profile import Profile
    from headrace.selecting import Selector
    from headrace.training.blocks import BlockMaker
    from headrace.training.board import Fitted, Trained
    from headrace.training.candidates import Candidate


def fit_in_folds(
    selector: Selector,
    candidates: Sequence[Candidate],
    which: Mapping[str, int],
    variants: Sequence[PrepareOptions],
    maker: BlockMaker,
    reader: Reader,
    name: str = "",
    limit: float = math.inf,
) -> tuple[dict[str, tuple[Fitted, ...]], dict[str, str]]:
    """Fit the candidates among these that are fitted outright.

    Parameters
    ----------
    selector : Selector
        Of the run.
    candidates : sequence of Candidate
    which : mapping of str to int
        Variant of each, by name.
    variants : sequence of PrepareOptions
    maker : BlockMaker
        From `Selector.maker` of these variants.
    reader : Reader
        Runs the passes and counts them.
    name : str
        Begins the names of the passes.
    limit : float
        Seconds of all passes of the run after which none is begun.

    Returns
    -------
    fitted : dict of str to tuple of Fitted
        By name, one a fold.
    failures : dict of str to str
        Why the others could not be fitted, by name.
    """
    mine = [(candidate, which[candidate.name]) for candidate in candidates if is_direct(candidate.estimator)]
    if not mine:
        return {}, {}
    source = selector.opened.trained
    wanted = {variant for candidate, variant in mine if is_exact(candidate.estimator)}
    refits = {
        variant: refit
        for variant in sorted(wanted)
        if (refit := refit_of(selector, variants[variant], maker, source)) is not None
    }
    outcome = outcome_of(selector.whole, maker)
    direct = Direct(
        reader, source, maker, outcome, refits, name,
        lanes=selector.workflow.train.lanes, late=Deadline(reader, limit).reached,
        remembered=selector.workflow.data.remembered,
    )  # fmt: skip
    found = direct.fit(mine)
    if not maker.folds:
        note_certainty(selector, found)
    return found, direct.failures


def fit_at_the_end(
    selector: Selector,
    best: Sequence[Trained],
    maker: BlockMaker,
    source: Source,
    reader: Reader,
    name: str,
    options: PrepareOptions,
) -> dict[str, Any]:
    """Fit candidates to all rows that a maker without folds prepares; trees as many as in the folds, or in the holdout.

    Parameters
    ----------
    selector : Selector
        Of the run.
    best : sequence of Trained
        That are fitted outright.
    maker : BlockMaker
        Prepares the rows.
    source : Source
        The chunks.
    reader : Reader
        Runs the passes and counts them.
    name : str
        Begins the names of the passes.
    options : PrepareOptions
        From which the maker's preparation was learnt.

    Returns
    -------
    dict of str to estimator
        By name.

    Raises
    ------
    RunError
        When one cannot be fitted to all rows.
    """
    rounds = {
        each.candidate.name: grown_rounds(each.folds or (each,))
        for each in best
        if each.candidate.estimator in TREES
    }
    outcome = outcome_of(selector.whole, maker)
    refit = None
    # Rows of the test may lack values of columns of which those that may be learnt from lack none.
    if source is selector.opened.trained and any(is_exact(each.candidate.estimator) for each in best):
        refit = refit_of(selector, options, maker, source)
    direct = Direct(
        reader, source, maker, outcome, {} if refit is None else {0: refit},
        name=name, rounds=rounds, lanes=selector.workflow.train.lanes,
        remembered=selector.workflow.data.remembered,
    )  # fmt: skip
    found = direct.fit([(each.candidate, 0) for each in best])
    for lost, why in direct.failures.items():
        raise RunError(
            f"{lost} cannot be fitted to all rows, as it was to those of the folds: {why}", where="models"
        )
    note_certainty(selector, found)
    return {each: fitted.estimator for each, (fitted,) in found.items()}


def note_certainty(selector: Selector, found: Mapping[str, tuple[Fitted, ...]]) -> None:
    """Tell the selector how certain the coefficients are of what was fitted to all rows that may be learnt from."""
    for name, (fitted,) in found.items():
        if fitted.certainty is not None:
            selector.certain[name] = fitted.certainty


def outcome_of(profile: Profile, maker: BlockMaker) -> Outcome:
    """Return what a profile knows of the target."""
    name = maker.target.name
    moments = None if name is None or maker.target.classes else profile.columns[name].overall.moments
    if moments is None:
        return Outcome(rows=profile.rows)
    return Outcome(moments.mean, moments.std, profile.rows)


def refit_of(selector: Selector, options: PrepareOptions, maker: BlockMaker, source: Source) -> Refit | None:
    """Say how the preparations of all folds follow from one that is learnt from all rows, where they do.

    Where chunks are remembered it is the one in whose terms an earlier run has kept their products, while those of now
    follow from it; else products are kept in terms of that of now. Of classification the features of each fold are
    prepared apart: products within classes do not map.
    """
    remembered = selector.workflow.data.remembered if may_remember(source) else None
    if maker.shared or maker.target.classes or not (maker.folds or remembered):
        return None
    whole = selector.fit(options)
    if whole.rules:
        return None
    folds = [selector.fit(options, profile) for profile in selector.parts] if maker.folds else [whole]
    made_of = (options.model_dump_json(), maker.target, maker.splitter, source.schema, source.embeddings)
    earlier = recall_reference(remembered, made_of) if remembered else None
    if earlier is not None and serves(earlier, whole):
        found = refit_maps(earlier, folds, selector.whole)
        if found is not None:
            return Refit(selector.recipe(earlier), *found, earlier=earlier != whole)
    found = refit_maps(whole, folds, selector.whole)
    if found is None:
        return None
    if remembered:
        keep_reference(remembered, made_of, whole)
    return Refit(selector.recipe(whole), *found)
