"""Dask's preload of worker processes: what they log is kept for who asks, and not printed amid the lines of a run.

When a worker is killed, or the scheduler ends, all others log with a traceback that a peer has gone. The leading process
knows of it as well, and names the chunk and the mend.
"""

from __future__ import annotations

import logging


def dask_setup(worker: object) -> None:
    """Print nothing less than critical; ``Client.get_worker_logs`` still has the rest."""
    del worker
    for handler in logging.getLogger("distributed").handlers:
        handler.setLevel(logging.CRITICAL)
