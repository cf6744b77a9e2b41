"""The search of both programs by Hyperband: numbers of `clicks` alone, 49 settings, one read of the rows at most."""

from __future__ import annotations

ETA, CALLS, CANDIDATES = 3, 27, 49
"""With 27 calls of ``partial_fit`` at most and one in three going on, Hyperband tries 49 settings."""
ALPHA, ETA0 = (1e-7, 1e-3), (1e-3, 1e-1)
"""Bounds of the settings, drawn evenly in orders of magnitude."""
FIXED = {"loss": "log_loss", "learning_rate": "constant", "average": True, "shuffle": False}
JUDGED = 0.1
"""Share of the rows by which settings are judged."""
