"""From the best candidate's answers about rows that judged it to calibrated probabilities and a threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.errors import WorkflowError
from headrace.stages import note
from headrace.training.calibration import (
    best_threshold,
    calibrated,
    calibration,
    together,
    with_threshold,
)
from headrace.training.candidates import in_double

if TYPE_CHECKING:
    from headrace.evaluation.options import EvaluateOptions
    from headrace.rundir import RunDirectory
    from headrace.training.blocks import BlockMaker, Target
    from headrace.training.board import Training
    from headrace.workflow import WorkflowFile


def check_decision(workflow: WorkflowFile, target: Target) -> None:
    """Refuse a threshold, and negatives that are left out, where there are not two classes.

    Raises
    ------
    WorkflowError
        Naming the key.
    """
    if workflow.threshold is not None and len(target.classes) != 2:
        raise WorkflowError(
            f"a threshold is between two classes, and {target.name!r} has {len(target.classes)}",
            where="threshold",
            mend="remove it",
        )
    if workflow.train.negatives < 1:
        if len(target.classes) != 2:
            raise WorkflowError(
                "negatives are of two classes", where="train.negatives", mend="remove it, or use class_weight"
            )
        if getattr(workflow.validation, "shared_preparation", False):
            raise WorkflowError(
                "rows cannot be left out of training alone when all folds share them",
                where="validation.shared_preparation",
                mend="leave it out, or train.negatives",
            )


def decide(
    workflow: WorkflowFile, training: Training, maker: BlockMaker, run: RunDirectory
) -> tuple[Training, BlockMaker, EvaluateOptions]:
    """Calibrate the winner and choose its threshold.

    Parameters
    ----------
    workflow : WorkflowFile
        As the user wrote it.
    training : Training
        With a fitted winner and its answers.
    maker : BlockMaker
        Prepares the rows by which it is assessed.
    run : RunDirectory
        Of which ``run.json`` tells what was decided.

    Returns
    -------
    training : Training
        Whose winner is a `CalibratedClassifierCV` or a `FixedThresholdClassifier`.
    maker : BlockMaker
        Which gives classes no weights: probabilities and costs are of rows as they come.
    options : EvaluateOptions
        By which it is assessed: with the threshold.

    Raises
    ------
    WorkflowError
        When the winner gives no probabilities of which there could be a threshold.
    """
    if workflow.calibrate is None and workflow.threshold is None:
        return training, maker, workflow.evaluate
    best, target = training.best, maker.target
    answers = together(best.answers, target.class_weight, target.classes)
    # A calibration holds its estimator frozen, out of reach of what is done to estimators when they are packaged.
    estimator, probabilities = in_double(best.estimator), answers.probabilities
    decision: dict[str, Any] = {"rows": len(answers.y)}
    if workflow.calibrate is not None:
        learnt = calibration(answers, workflow.calibrate)
        estimator = calibrated(estimator, learnt)
        said = learnt.predict_proba(answers.said.reshape(len(answers.y), -1))
        probabilities = said[:, 1] if len(target.classes) == 2 else said
        decision["calibration"] = workflow.calibrate
        note(
            run,
            [f"probabilities are calibrated ({workflow.calibrate}) on {len(answers.y):,} rows that judged"],
        )
    options = workflow.evaluate
    if workflow.threshold is not None:
        if probabilities is None:
            raise WorkflowError(
                f"{best.candidate.name} gives no probabilities, of which there could be a threshold",
                where="threshold",
                mend="add calibrate: sigmoid",
            )
        positive = answers.y == target.classes[1]
        threshold, value = best_threshold(probabilities, positive, answers.weight, workflow.threshold)
        estimator = with_threshold(estimator, threshold)
        options = options.model_copy(update={"threshold": threshold})
        metric = workflow.threshold.metric or "mean cost"
        decision |= {"threshold": threshold, "metric": metric, "value": value}
        where = f"where {metric} is {value:.4g} on {len(answers.y):,} rows that judged"
        note(run, [f"{target.classes[1]} is predicted from a probability of {threshold:.4g} on, {where}"])
        training = replace(training, threshold=threshold)
    run.record["decision"] = decision
    winner = replace(best, estimator=estimator)
    training = replace(training, trained=(winner, *training.trained[1:]))
    return training, replace(maker, target=replace(target, class_weight=())), options
