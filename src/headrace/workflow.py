"""The workflow file: the stages' options, composed; unknown keys refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from headrace.data.options import DataOptions, FeaturesOptions  # noqa: TC001 pydantic reads the annotation
from headrace.data.pii import PiiOptions  # noqa: TC001 pydantic reads the annotation
from headrace.evaluation.options import EvaluateOptions
from headrace.optionfile import parse_options, read_options
from headrace.options import Options
from headrace.packaging.options import PublishOptions
from headrace.preparation.options import PrepareOptions
from headrace.problem import ProblemOptions  # noqa: TC001 pydantic reads the annotation
from headrace.profiling.expectations import CheckOptions
from headrace.training.options import EnsembleOptions, ModelOptions, ThresholdOptions, TrainOptions
from headrace.training.spaces import Search  # noqa: TC001 pydantic reads the annotation
from headrace.training.validation import Holdout, Validation


class WorkflowFile(Options):
    """Everything that a run is asked to do, as it stands in the YAML file."""

    problem: ProblemOptions = Field(description="What is to be learnt, and when it is good enough")
    data: DataOptions = Field(description="What is read, and which rows train, validate and test")
    pii: PiiOptions | None = Field(
        default=None, description="What is done with columns about persons before anything else sees them"
    )
    features: FeaturesOptions | None = Field(default=None, description="A row-wise function over the data")
    checks: CheckOptions = Field(default=CheckOptions(), description="What the data must hold")
    prepare: PrepareOptions = Field(default=PrepareOptions(), description="From columns to features")
    models: tuple[ModelOptions, ...] = Field(
        default=(), description="Candidates; left out: good defaults for the task. A baseline is always added"
    )
    validation: Validation = Field(default=Holdout(), description="By which rows candidates are judged")
    search: Search | None = Field(
        default=None, description="How settings are sought in the spaces of `models`"
    )
    train: TrainOptions = Field(default=TrainOptions(), description="How candidates are trained")
    ensemble: EnsembleOptions | None = Field(
        default=None, description="An ensemble of the best candidates, which becomes the best when it is"
    )
    calibrate: Literal["sigmoid", "isotonic"] | None = Field(
        default=None,
        description="The curve that turns what the best candidate says into probabilities, learnt from the validation rows: "
        "Platt's logistic one, or steps that rise",
    )
    threshold: ThresholdOptions | None = Field(
        default=None, description="By what the threshold of two classes is chosen; left out: 0.5"
    )
    evaluate: EvaluateOptions = Field(default=EvaluateOptions(), description="How the best one is assessed")
    publish: PublishOptions = Field(default=PublishOptions(), description="Where the model goes")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Same seed, same data: same model")

    @model_validator(mode="after")
    def _hold_together(self) -> WorkflowFile:
        target = self.problem.target
        if target is not None:
            if target in self.data.drop:
                raise ValueError(f"data.drop holds the target {target!r}; remove it there")
            if target in (self.data.time, self.data.weight):
                raise ValueError(
                    f"the target {target!r} is also the time or weight column; choose another column"
                )
        if self.data.weight is not None and self.data.weight in (*self.data.drop, self.data.time):
            raise ValueError(
                f"data.weight {self.data.weight!r} is also dropped or the time column; keep one use of it"
            )
        names = [model.name for model in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        spaced = [model.name for model in self.models if model.space]
        if self.search is not None and not spaced:
            raise ValueError("search has nothing to vary; give at least one of models a `space`")
        if self.search is None and spaced:
            raise ValueError(f"the space of {spaced[0]!r} is for a search; add search: {{kind: random}}")
        if twice:
            raise ValueError(f"models: the name {twice[0]!r} stands twice; rename one")
        if self.ensemble is not None and self.problem.task == "clustering":
            raise ValueError("ensemble is for classification and regression, not for clustering; remove it")
        if self.ensemble is not None and "ensemble" in names:
            raise ValueError("models: the name 'ensemble' is that of the ensemble; rename one")
        return self

    @model_validator(mode="after")
    def _choose_within_folds(self) -> WorkflowFile:
        if not getattr(self.validation, "nested", False):
            return self
        if self.search is not None and self.search.kind not in {"grid", "random"}:
            raise ValueError(
                f"validation.nested: {self.search.kind} learns from the scores of all folds what to try next, so that no fold is "
                "left to judge the choice; use random or grid"
            )
        dealt = getattr(self.validation, "values", range(getattr(self.validation, "folds", 0)))
        if self.validation.kind != "time" and len(dealt) < 3:
            raise ValueError("validation.nested leaves two folds nothing to learn from; give three or more")
        if self.ensemble is not None:
            raise ValueError(
                "validation.nested judges the choice of a candidate, not an ensemble; remove one"
            )
        if self.problem.task == "clustering":
            raise ValueError("validation.nested is for classification and regression; remove it")
        return self

    @model_validator(mode="after")
    def _decide_between_classes(self) -> WorkflowFile:
        for key in ("calibrate", "threshold"):
            if getattr(self, key) is not None and self.problem.task != "classification":
                raise ValueError(f"{key} is for classification, not for {self.problem.task}; remove it")
        if self.threshold is not None and "threshold" in self.evaluate.model_fields_set:
            raise ValueError("evaluate.threshold is given and `threshold` chooses one; keep one of them")
        return self


def load_workflow(path: str) -> WorkflowFile:
    """Read a workflow file.

    Parameters
    ----------
    path : str
        A local path or any fsspec URL of a YAML file.

    Raises
    ------
    WorkflowError
        The file is missing or not YAML, a key is unknown or stands twice, or a value is wrong. The one line names the file, the
        line, the whole key (``data.split.test``) and the nearest key that exists.
    """
    return read_options(path, WorkflowFile)


def parse_workflow(text: str, *, name: str = "workflow") -> WorkflowFile:
    """Read a workflow from YAML text; `name` stands for the file in messages."""
    return parse_options(text, WorkflowFile, name=name)


def workflow_schema() -> dict[str, Any]:
    """Return the JSON Schema of a workflow file, for editors that complete and check YAML."""
    schema = WorkflowFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "headrace workflow"}
