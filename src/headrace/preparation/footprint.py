"""Memory that a preparation takes: of what it finds beside the profile, and of what it holds by value once it is fitted (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.engine.plan import summary_bytes
from headrace.preparation.finders import CountFinder, DerivedFinder, GramFinder, RowFinder, TokenFinder

if TYPE_CHECKING:
    from headrace.preparation.needs import PreparationFinder

WORD_BYTES = 32
"""Of the text of a value among others, with where it ends."""
OBJECT_BYTES = 192
"""Of the text of a value as an object, and once more as letters of one width."""
NUMBER_BYTES = 32
"""Of a number in a list."""
LABELS = 2
"""Classes of a target, taken for granted as plans do."""


def found_bytes(finder: PreparationFinder, rows: int) -> int:
    """Bytes of what a finder has found in one set of rows, as soon as it is as large as it may become.

    Parameters
    ----------
    finder : PreparationFinder
    rows : int
        In the set.

    Examples
    --------
    >>> found_bytes(CountFinder("counts", "city", 1_000_000, splitter=None), 10_000_000)
    56000000
    """
    match finder:
        case GramFinder():
            return 32 * len(finder.columns) ** 2
        case RowFinder():
            return 8 * (len(finder.columns) + 1) * min(finder.size, rows)
        case DerivedFinder():
            return len(finder.recipes) * summary_bytes(1, rows)
        case CountFinder():
            sums = 0 if finder.target is None else finder.folds * (1 + 2 * _outputs(finder))
        case TokenFinder():
            sums = 2
    texts = rows if isinstance(finder, CountFinder) else finder.capacity
    return min(finder.capacity, texts) * (8 * (sums + 3) + WORD_BYTES)


def fitted_bytes(finder: PreparationFinder, rows: int) -> int:
    """Bytes of what a preparation holds by value when it is fitted from what a finder has found in one set of rows."""
    match finder:
        case CountFinder():
            folds = 0 if finder.target is None else finder.folds
            return min(finder.capacity, rows) * (OBJECT_BYTES + NUMBER_BYTES * _outputs(finder) * (1 + folds))
        case TokenFinder():
            return finder.capacity * (OBJECT_BYTES + NUMBER_BYTES)
    return 0


def _outputs(finder: CountFinder) -> int:
    return LABELS if finder.classes else 1
