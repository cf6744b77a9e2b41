"""The Accumulator protocol and the fixed merge tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


class Accumulator(Protocol):
    """What is learnt from data by a sum-like pass.

    Any split of the data into chunks and any merge tree over them gives the same result within the
    error that the accumulator states. Besides these methods each accumulator has an ``update``, whose
    arguments are its own.
    """

    def merge(self, other: Self) -> Self:
        """Return the accumulator of both data sets; neither operand changes."""
        ...

    def result(self) -> Any:
        """Return what has been learnt."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document that `from_state` reads back without loss."""
        ...

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        ...


def merge_tree(items: Iterable[T], merge: Callable[[T, T], T]) -> T:
    """Merge neighbours pairwise, level by level, so that the shape depends on the number of items alone.

    Parameters
    ----------
    items : iterable
        At least one item, in chunk order. They are merged as they come: of n of them, at most log2(n) + 2 are held.
    merge : callable
        ``merge(left, right)``.

    Returns
    -------
    T
        The single item that remains.

    Examples
    --------
    >>> merge_tree(["a", "b", "c"], lambda left, right: f"({left}{right})")
    '((ab)c)'
    """
    held: list[T] = []
    for number, item in enumerate(items, 1):
        held.append(item)
        # A binary counter: as many merges as the number of items so far ends in zeros.
        for _ in range((number & -number).bit_length() - 1):
            right = held.pop()
            held.append(merge(held.pop(), right))
    while len(held) > 1:
        right = held.pop()
        held.append(merge(held.pop(), right))
    return held[0]
