"""Options of search: how candidates are found, and the values among which each of their settings is sought."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from headrace.options import Options

Number = int | float


class Range(Options):
    """Numbers between two bounds; whole ones when both bounds are."""

    low: Number = Field(description="The least", allow_inf_nan=False)
    high: Number = Field(description="The most", allow_inf_nan=False)
    log: bool = Field(default=False, description="Seek evenly in orders of magnitude")
    steps: int = Field(default=5, ge=2, le=1000, description="Values that a grid takes of it")

    @model_validator(mode="after")
    def _hold_together(self) -> Range:
        if not self.low < self.high:
            raise ValueError("low must be below high; give a list for a single value")
        if self.log and self.low <= 0:
            raise ValueError("a range in orders of magnitude begins above 0; raise low, or leave log out")
        return self

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Choice = Annotated[list[Any], Field(min_length=1)]
Space = dict[str, Range | Choice]


class _Search(Options):
    max_minutes: float | None = Field(
        default=None,
        gt=0,
        description="No pass is begun that would end later; the best so far is then the result",
    )


class Grid(_Search):
    """Every combination of the values."""

    kind: Literal["grid"]


class Random(_Search):
    """Settings drawn at random."""

    kind: Literal["random"]
    candidates: int = Field(default=32, ge=1, le=10_000, description="How many, over all models")


class Bayes(_Search):
    """Settings that what was learnt of earlier ones makes promising (tree-structured Parzen estimators, by Optuna)."""

    kind: Literal["bayes"]
    candidates: int = Field(default=32, ge=1, le=10_000, description="How many, over all models")
    batch: int = Field(
        default=8, ge=1, description="Candidates that share the reads of the data before the next are chosen"
    )


class Halving(_Search):
    """Settings drawn at random; at rungs within the stream one in `eta` goes on, with `eta` times the rows."""

    kind: Literal["halving"]
    candidates: int = Field(default=32, ge=2, le=10_000, description="How many, over all models")
    eta: int = Field(default=3, ge=2, le=16, description="One in so many goes on at each rung")


class Hyperband(_Search):
    """Several brackets of halving at once, from many candidates with few rows to few that are never dropped."""

    kind: Literal["hyperband"]
    candidates: int = Field(default=32, ge=2, le=10_000, description="How many, over all brackets and models")
    eta: int = Field(default=3, ge=2, le=16, description="One in so many goes on at each rung")


Search = Annotated[Grid | Random | Bayes | Halving | Hyperband, Field(discriminator="kind")]
