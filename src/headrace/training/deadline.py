"""When a search ends, by the time of all passes of the run: no pass is begun that would end later."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.engine.passes import Reader

NO_TIME = "not fitted: the time for the search had ended"
"""Why a candidate has no score."""


@dataclass(frozen=True)
class Deadline:
    """The time that is left to a search."""

    reader: Reader
    """Counts the passes."""
    seconds: float = math.inf
    """Of all passes of the run together."""

    def reached(self) -> bool:
        """Tell whether another pass as long as the last one would end too late."""
        spent = [record.seconds for record in self.reader.records]
        return bool(spent) and sum(spent) + spent[-1] > self.seconds


def never() -> bool:
    """Stand for a deadline that there is not."""
    return False
