"""Results of accumulators compared up to rounding."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
import pytest


def plain(value: Any) -> Any:
    """A result as nested lists and numbers, to be compared with a tolerance."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, (int, float, np.number)) else value


def assert_same(left: Any, right: Any) -> None:
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key, item in left.items():
            assert_same(item, right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for mine, theirs in zip(left, right, strict=True):
            assert_same(mine, theirs)
    elif isinstance(left, float):
        assert left == pytest.approx(right, rel=1e-6, abs=1e-9, nan_ok=True)
    else:
        assert left == right
