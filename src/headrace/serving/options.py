"""Options of serving: what is done with inputs that training has not seen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headrace.options import Options

Policy = Literal["reject", "clip", "flag"]


class GuardOptions(Options):
    """What is done with a value that training has not seen.

    ``reject`` refuses the row; ``flag`` answers and says so; ``clip`` answers for the nearest value that training has
    seen (the end of the range, or a missing value in place of an unseen category), and says so.
    """

    range: Policy = Field(default="flag", description="A number or time outside of the range of training.")
    category: Policy = Field(default="flag", description="A category that training has not seen.")
    missing: Literal["reject", "flag"] = Field(
        default="flag", description="A missing value in a column that had none in training."
    )
