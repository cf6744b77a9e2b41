"""The loss of rows by cell of one column, and what each cell adds to the loss of all: with intervals, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from headrace.accumulators.encoding import decode_array, encode_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Z = 1.959963984540054
"""Standard errors to either side of a 95 % interval."""


@dataclass(frozen=True)
class CellLosses:
    r"""Weights, mean losses and their scatter of the rows in each cell; every row is in one.

    With weights w and losses :math:`\ell`, the mean loss of all rows is :math:`m = \sum w\ell / \sum w`. A cell c with the weight
    :math:`W_c` and the mean loss :math:`m_c` does the harm :math:`W_c (m_c - m)`: the loss that would go if its rows were predicted as
    well as the average row. The harms of all cells sum up to 0. The variance of a harm is that of its linearisation (Cochran 1977,
    section 5A), whose part of row i is :math:`w_i (\ell_i - m) (1[i \in c] - W_c / W)`. Means and scatter merge by Chan, Golub and
    LeVeque (1983), so that nothing is the difference of two large sums. 48 bytes a cell.

    Attributes
    ----------
    held : ndarray of float64, shape (6, cells)
        Rows; their weight, and the mean loss by it; the sum of squared weights, the mean loss by these, and the sum of
        :math:`w^2 (\ell - \mu)^2` around it.

    Examples
    --------
    >>> found = CellLosses.of(np.array([0, 0, 1, 1]), 2, np.array([1.0, 1.0, 3.0, 3.0]))
    >>> found.result()["harm"].tolist()
    [-2.0, 2.0]
    """

    held: NDArray[np.float64]

    @classmethod
    def empty(cls, cells: int) -> Self:
        """No rows in so many cells."""
        return cls(np.zeros((6, cells)))

    @classmethod
    def of(
        cls,
        codes: NDArray[np.integer[Any]],
        cells: int,
        loss: NDArray[np.float64],
        weight: NDArray[np.float64] | None = None,
    ) -> Self:
        """Measure rows.

        Parameters
        ----------
        codes : ndarray of int, shape (n,)
            Cell of each row.
        cells : int
            Number of cells.
        loss : ndarray of float64, shape (n,)
            Finite.
        weight : ndarray of float64, shape (n,), optional
            Not negative; 1 by default.
        """
        held = np.zeros((6, cells))
        held[0] = np.bincount(codes, minlength=cells)
        w = np.ones(len(loss)) if weight is None else weight
        for first, each in ((1, w), (3, w * w)):
            held[first] = np.bincount(codes, each, cells)
            held[first + 1] = np.bincount(codes, each * loss, cells)
            held[first + 1] = _over(held[first + 1], held[first])
        held[5] = np.bincount(codes, (w * (loss - held[4][codes])) ** 2, cells)
        return cls(held)

    def update(
        self,
        codes: NDArray[np.integer[Any]],
        loss: NDArray[np.float64],
        weight: NDArray[np.float64] | None = None,
    ) -> Self:
        """Return what is held with further rows, as in `of`."""
        return self.merge(self.of(codes, self.held.shape[1], loss, weight))

    def merge(self, other: Self) -> Self:
        """Return what is held of both sets of rows."""
        mine, theirs = self.held, other.held
        both = mine + theirs
        for first in (1, 3):
            share = _over(theirs[first], both[first])
            both[first + 1] = mine[first + 1] + (theirs[first + 1] - mine[first + 1]) * share
        both[5] += (theirs[4] - mine[4]) ** 2 * mine[3] * _over(theirs[3], both[3])
        return type(self)(both)

    def result(self) -> dict[str, NDArray[np.float64]]:
        """Return ``rows``, ``weight``, ``loss`` (mean), ``harm`` and its 95 % ``low`` and ``high`` of each cell, shape (cells,).

        The mean loss of a cell without weight is NaN, and its harm 0.
        """
        rows, weight, loss, weight2, loss2, scatter = self.held
        whole = weight.sum()
        share = _over(weight, whole)
        mean = float(share @ loss)
        harm = weight * (loss - mean)
        squares = scatter + weight2 * (loss2 - mean) ** 2
        variance = (1 - share) ** 2 * squares + share**2 * (squares.sum() - squares)
        reach = _Z * np.sqrt(np.maximum(variance, 0.0))
        return {
            "rows": rows,
            "weight": weight,
            "loss": np.where(weight > 0, loss, np.nan),
            "harm": harm,
            "low": harm - reach,
            "high": harm + reach,
        }

    @property
    def total(self) -> float:
        """The loss of all rows together."""
        return float(self.held[1] @ self.held[2])

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {"held": encode_array(self.held)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        return cls(decode_array(state["held"]))


def _over(amounts: NDArray[np.float64], whole: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """Divide, and say 0 where nothing is."""
    return np.divide(amounts, whole, out=np.zeros(amounts.shape), where=whole > 0)
