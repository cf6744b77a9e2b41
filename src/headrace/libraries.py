"""What a run loads before its stages begin, where its workers are threads of this process."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from headrace.accumulators.native import want_loops

if TYPE_CHECKING:
    from headrace.cluster.workers import Workers

LATER = ("sklearn.metrics", "headrace.skopsio")
"""What would else be loaded at the first commit of a learner: for a second or two all threads would wait for it."""


def load_libraries(cluster: Workers, *, native: bool) -> None:
    """Load what the stages need, where workers share it; `native` says whether compiled loops are among it."""
    if not cluster.in_process:
        return
    for name in LATER:
        import_module(name)
    if native:
        want_loops()
