"""Options of the evaluation: slices, intervals, threshold."""

from __future__ import annotations

from pydantic import Field

from headrace.options import Options


class EvaluateOptions(Options):
    """How the best candidate is judged on the test split."""

    slices: list[str] = Field(
        default=[],
        description="Columns by whose values the metrics are also given, such as [carrier, origin].",
        examples=[["carrier"]],
    )
    bootstrap: int = Field(
        default=200,
        ge=0,
        le=2000,
        description="Poisson bootstrap replicates of the 95 % intervals; 0 for no intervals.",
    )
    threshold: float = Field(
        default=0.5,
        gt=0.0,
        lt=1.0,
        description="Two-class problems: predict class 1 when its probability is at least this.",
    )
