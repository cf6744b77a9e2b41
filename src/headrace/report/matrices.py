"""Drawings of matrices: strength of pairs and what is missing together as staircases, loadings as a table of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.report import numbers
from headrace.report.marks import Drawing, Frame, Mark, Rect, Word, segment
from headrace.report.scales import ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.profiling.components import Components

CELL = 17.0
LABEL = 120.0
_FAINT = 0.03
MOST_COMPONENTS, MOST_LOADINGS = 12, 16


def staircase(
    names: Sequence[str],
    values: NDArray[np.float64],
    label: str,
    tip: Callable[[int, int], str],
) -> Drawing:
    """Draw the lower half of a symmetric matrix; each row ends in its name, which stands above its column.

    Parameters
    ----------
    names : sequence of str, length k
    values : ndarray of float64, shape (k, k)
        Between -1 and 1; NaN is drawn as empty.
    label : str
        For screen readers.
    tip : callable
        ``tip(i, j)`` of a cell.
    """
    k = len(names)
    marks: list[Mark] = []
    for i in range(k):
        y = i * CELL
        for j in range(i):
            value = float(values[i, j])
            x = j * CELL
            if not np.isfinite(value):
                marks.append(Rect(x + 6, y + 7, CELL - 13, 2.0, "cell-ground", tip(i, j)))
                continue
            style = "heat plus" if value >= 0 else "heat minus"
            opacity = round(max(abs(value), _FAINT), 2)
            marks.append(Rect(x, y, CELL - 1, CELL - 1, style, tip(i, j), opacity))
        marks.append(Word(i * CELL + 4, y + 12.0, numbers.fit(names[i], LABEL), "category", "start"))
    return Drawing(k * CELL + LABEL, max(k * CELL, CELL), label, tuple(marks))


def scree(found: Components) -> Drawing:
    """Draw the share of the variance of each component, and the sum so far in words."""
    count = min(len(found.shares), MOST_COMPONENTS)
    frame = Frame(34.0, 10.0, 350.0, 132.0)
    top = float(found.shares[0]) * 1.08
    y = frame.y(0.0, top)
    marks: list[Mark] = []
    for tick in ticks(0.0, top, 3, percent=True):
        at = y(tick.value)
        marks.append(segment(frame.left, at, frame.right, at, "grid"))
        marks.append(Word(frame.left - 4, at + 3.5, tick.label, "tick", "end"))
    width = (frame.right - frame.left) / count
    upto = np.cumsum(found.shares)
    for i in range(count):
        x, at = frame.left + i * width, y(float(found.shares[i]))
        words = (
            f"component {i + 1}: {numbers.share(float(found.shares[i]))} of the variance, "
            f"{numbers.share(float(upto[i]))} with those before"
        )
        bar = Rect(round(x + 2, 1), at, round(width - 4, 1), round(frame.bottom - at, 1), "bar", words)
        marks.extend((bar, Word(round(x + width / 2, 1), frame.bottom + 13, str(i + 1))))
    marks.append(segment(frame.left, frame.bottom, frame.right, frame.bottom, "axis"))
    return Drawing(360.0, 152.0, "Share of the variance of each principal component", tuple(marks))


def loadings(found: Components, components: int = 4) -> Drawing:
    """Draw the first components in terms of the columns that weigh most in them."""
    shown = min(components, len(found.shares))
    weight = (found.loadings[:shown] ** 2 * found.shares[:shown, None]).sum(axis=0)
    order = sorted(np.argsort(-weight)[:MOST_LOADINGS].tolist())
    cell = (352.0 - LABEL) / shown
    marks: list[Mark] = [
        Word(round(LABEL + (i + 0.5) * cell, 1), 10.0, f"{i + 1}", "tick") for i in range(shown)
    ]
    for row, j in enumerate(order):
        y = 18.0 + row * CELL
        marks.append(Word(LABEL - 6, y + 12.0, numbers.fit(found.names[j], LABEL - 10), "category", "end"))
        for i in range(shown):
            value = float(found.loadings[i, j])
            x = LABEL + i * cell
            style = "heat plus" if value >= 0 else "heat minus"
            words = f"{numbers.cut(found.names[j])} in component {i + 1}: {numbers.score(value, 2)}"
            opacity = round(max(abs(value) * 0.85, _FAINT), 2)
            marks.append(Rect(round(x, 1), y, round(cell - 2, 1), CELL - 1, style, words, opacity))
            if abs(value) >= 0.2:
                marks.append(Word(round(x + cell / 2 - 1, 1), y + 12.0, numbers.score(value, 2), "cell-text"))
    return Drawing(360.0, 18.0 + CELL * len(order), "Loadings of the first components", tuple(marks))
