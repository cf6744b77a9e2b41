"""Where a model is published, as a user writes it in a workflow file."""

from __future__ import annotations

from pydantic import Field

from headrace.data.urls import PublicUrl  # noqa: TC001 pydantic reads it
from headrace.options import Options


class PublishOptions(Options):
    """The `publish:` part of a workflow."""

    registry: PublicUrl = Field(
        default="registry", description="Folder or URL of the registry that receives the model."
    )
    name: str | None = Field(
        default=None,
        description="Name of the model in the registry; the problem's name when it is not given.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
    )
