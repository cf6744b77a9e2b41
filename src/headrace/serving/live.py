"""What the page shows of the last minutes: latency and throughput of this process, from a ring of the last requests."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np

_KEPT = 4096
_WINDOW = 60.0


class Live:
    """The last few thousand answered requests: when, how long, which arm, which status."""

    def __init__(self) -> None:
        self._held: deque[tuple[float, float, str, int]] = deque(maxlen=_KEPT)

    def add(self, seconds: float, arm: str, status: int) -> None:
        """Take one request."""
        self._held.append((time.monotonic(), seconds, arm, status))

    def figures(self) -> dict[str, Any]:
        """Say what the last minute was like.

        Returns
        -------
        dict
            ``requests``, ``errors``, ``seconds`` (the time they came in), ``per_second``, and by arm ``p50`` and
            ``p99`` in milliseconds with ``requests``.
        """
        now = time.monotonic()
        recent = [held for held in self._held if held[0] > now - _WINDOW]
        span = now - recent[0][0] if len(recent) == _KEPT else _WINDOW
        arms = {}
        for arm in sorted({held[2] for held in recent if held[2]}):
            took = np.array([held[1] for held in recent if held[2] == arm]) * 1000
            p50, p99 = np.quantile(took, [0.5, 0.99])
            arms[arm] = {"requests": len(took), "p50": round(float(p50), 3), "p99": round(float(p99), 3)}
        return {
            "seconds": _WINDOW,
            "requests": len(recent),
            "errors": sum(held[3] >= 400 for held in recent),
            "per_second": round(len(recent) / max(span, 1e-9), 2),
            "arms": arms,
        }
