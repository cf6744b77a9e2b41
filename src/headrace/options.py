"""The base of every options class: unknown keys are refused, values never change."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Options of one stage, as a user writes them in a YAML file.

    Fields are described by ``Field(description=...)``; the descriptions become the JSON Schema
    that editors show.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
