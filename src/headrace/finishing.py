"""The last fits: of the best candidate to all rows that it may learn from, and to those of the test when they have judged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.decision import decide
from headrace.outright import fit_at_the_end
from headrace.stages import note
from headrace.training.candidates import ENSEMBLE
from headrace.training.ensembles import combined
from headrace.training.lastfit import retrain
from headrace.training.routes import is_direct
from headrace.training.streaming import Stream
from headrace.training.variants import varied

if TYPE_CHECKING:
    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.preparation.fitted import Preparation
    from headrace.rundir import RunDirectory
    from headrace.selecting import Selector
    from headrace.training.blocks import BlockMaker
    from headrace.training.board import Training


def finish(
    selector: Selector, training: Training, reader: Reader, run: RunDirectory
) -> tuple[Training, Preparation, BlockMaker]:
    """Fit the winner, or its members, to all rows that are not for the test; that of a holdout may be left as it is fitted already.

    Returns
    -------
    training : Training
        With a fitted winner.
    preparation : Preparation
        What it sees.
    maker : BlockMaker
        Prepares the rows by which it is assessed.
    """
    workflow = selector.workflow
    options = varied(workflow.prepare, training.best.candidate.prepare)
    preparation = selector.fit(options)
    maker = selector.last(preparation)
    if selector.opened.splitter.folds is not None or workflow.train.refit is not None:
        training = _fitted(selector, training, maker, selector.opened.trained, reader, f"{run.again}final ")
    return training, preparation, maker


def refit(
    selector: Selector,
    fitted: Training,
    decided: Training,
    preparation: Preparation,
    reader: Reader,
    run: RunDirectory,
) -> Training:
    """Fit the winner to all rows, those of the test included, where that is asked for: nothing judges it any more.

    Parameters
    ----------
    selector : Selector
        Of the run.
    fitted, decided : Training
        From `finish`, and from `headrace.decision.decide`, whose decision stays.
    preparation : Preparation
        Which stays as it was learnt.
    reader : Reader
        Runs the passes and counts them.
    run : RunDirectory
        Told.
    """
    workflow, opened = selector.workflow, selector.opened
    if workflow.train.refit != "all":
        return decided
    maker = selector.last(preparation)
    whole = replace(maker.splitter, test=0.0, time=None, test_from=None, group=None)
    chunks, columns = opened.dataset.chunks, opened.trained.columns
    source = replace(opened.trained, chunks=chunks, bytes=opened.dataset.column_bytes(columns, chunks))
    note(run, [
        "the model is fitted to all rows, those of the test after they had judged: its figures are of the same without these"
    ])  # fmt: skip
    again = _fitted(selector, fitted, replace(maker, splitter=whole), source, reader, f"{run.again}all ")
    return replace(decide(workflow, again, maker, run)[0], everything=True)


def _fitted(
    selector: Selector, training: Training, maker: BlockMaker, source: Source, reader: Reader, name: str
) -> Training:
    """Fit the winner, or its members, to all rows of a source that a maker without folds prepares."""
    workflow, best = selector.workflow, training.best
    blend = training.blend if best.candidate.name == ENSEMBLE else None
    wanted = [best] if blend is None else [t for t in training.trained if t.candidate.name in blend.members]
    outright = [each for each in wanted if is_direct(each.candidate.estimator)]
    streamed = [each for each in wanted if each not in outright]
    options = varied(workflow.prepare, best.candidate.prepare)
    fitted = fit_at_the_end(selector, outright, maker, source, reader, name, options) if outright else {}
    if streamed:
        task = workflow.problem.task
        fitted |= retrain(
            Stream(reader, source, maker, workflow.train, task, training.metric, name), streamed
        )
    if blend is None:
        estimator = fitted[best.candidate.name]
    else:
        estimator = combined(blend, fitted, selector.target.classes)
    epochs = max([1, *(each.best_epoch for each in streamed)])
    winner = replace(best, estimator=estimator)
    return replace(training, trained=(winner, *training.trained[1:]), retrained=epochs)
