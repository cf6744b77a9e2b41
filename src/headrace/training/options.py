"""Options of training: the models that are tried, and how the stream feeds them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from headrace.options import Options
from headrace.training.spaces import Space  # noqa: TC001 pydantic reads the annotation


class ModelOptions(Options):
    """One candidate: a scikit-learn estimator with one setting of its hyperparameters."""

    name: str = Field(
        description="Name of the candidate on the leaderboard.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$"
    )
    estimator: str = Field(
        description="Import path of an estimator with partial_fit, e.g. sklearn.linear_model.SGDClassifier."
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Hyperparameters; the rest are headrace's defaults."
    )

    space: Space = Field(
        default_factory=dict,
        description="What `search` varies: a hyperparameter, or `prepare.` and a key of the preparation such as "
        "prepare.numeric.scale, to a list of values or to {low, high, log}.",
    )


class EnsembleOptions(Options):
    """Several of the best candidates as one."""

    kind: Literal["average", "stack"] = Field(
        default="average",
        description="Their weighted average, or a linear model of what they say; either learnt from validation rows.",
    )
    size: int = Field(default=5, ge=2, le=8, description="How many at most, the best first.")


class TrainOptions(Options):
    """How the stream of blocks feeds the candidates."""

    epochs: int = Field(default=5, ge=1, description="Passes over the training rows at most.")
    patience: int = Field(
        default=2, ge=1, description="Epochs without a better validation score after which a candidate stops."
    )
    tolerance: float = Field(
        default=1e-4, ge=0, description="A validation score must rise by more than this to count as better."
    )
    class_weight: Literal["balanced"] | dict[str, float] | None = Field(
        default=None, description="Weight of each class, or `balanced` for weights inverse to its frequency."
    )
    negatives: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the rows of the first of two classes that is learnt from, each counting for those left out: "
        "for a rare second class.",
    )
    refit: Literal["validation", "all"] | None = Field(
        default=None,
        description="Fit the best one once more, as long as was best: to the `validation` rows too, as is always done after folds, or "
        "to `all` rows, when it has been assessed; its figures stay those of before the rows of the test were learnt from",
    )
    lanes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Chains on which each linear candidate learns at the same time, each from its share of the blocks, "
        "their weights averaged, and tasks that grow boosted trees together; a setting of the run, whatever the number of workers.",
    )
    mix_every: int = Field(
        default=8, ge=1, description="Blocks of each lane after which the weights of all lanes are averaged."
    )


class CostOptions(Options):
    """What it costs to be right or wrong about a row, in any unit; gains are negative."""

    false_positive: float = Field(ge=0, description="To take a row of the first class for the second.")
    false_negative: float = Field(ge=0, description="To take a row of the second class for the first.")
    true_positive: float = Field(default=0.0, description="To recognise the second class.")
    true_negative: float = Field(default=0.0, description="To recognise the first class.")


class ThresholdOptions(Options):
    """By what the threshold of two classes is chosen, on rows that were not learnt from."""

    metric: Literal["f1", "balanced_accuracy"] | None = Field(
        default=None, description="Which metric is to be as high as it can be."
    )
    cost: CostOptions | None = Field(
        default=None, description="Or what errors cost: the mean is to be as low as it can be."
    )

    @model_validator(mode="after")
    def _either(self) -> ThresholdOptions:
        if (self.metric is None) == (self.cost is None):
            raise ValueError("the threshold needs a metric or a cost; give exactly one")
        return self
