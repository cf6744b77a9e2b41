"""Words looked up in the categories of an encoding: what the fitted encoder gives, at no cost for each category and call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.accumulators.hashing import hash_strings
from headrace.preparation.plans import MISSING_WORD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from headrace.preparation.recipes import RecipePlan


@dataclass(frozen=True)
class Lookup:
    """An encoding of words by frequency or target.

    scikit-learn's encoder makes a Python dictionary of all categories at each call, and Arrow a hash table, which takes
    them seconds and tenths of one with a million categories. Here hashes are sorted once, and words found among them
    are compared.

    Attributes
    ----------
    word : str
        Stands for a missing value.
    hashes : ndarray of uint64, shape (categories,)
        Of the categories that training had, ascending; no two are the same.
    categories : pyarrow.StringArray
        In the same order.
    encodings : ndarray of float, shape (folds + 1, categories + 1, outputs)
        First those of all training rows, then those that the training rows of each fold get; in the same order, and at
        the last place of each what stands for other words.
    """

    word: str
    hashes: NDArray[np.uint64]
    categories: pa.StringArray
    encodings: NDArray[np.float64]

    @classmethod
    def of(cls, plan: RecipePlan) -> Self | None:
        """Take over what a recipe has learnt; None of one that is more than an encoding of words, or of words of one hash."""
        if plan.kind != "string" or [step.sort for step in plan.steps] != ["fill_words", "encode"]:
            return None
        fill, encode = (step.learnt for step in plan.steps)
        words = pa.array(encode["categories"], pa.string())
        hashes = hash_strings(words)
        order = np.argsort(hashes)
        hashes = hashes[order]
        if not len(hashes) or (hashes[1:] == hashes[:-1]).any():
            return None
        tables = [_table(learnt, order) for learnt in (encode, *encode.get("folds", ()))]
        return cls(fill.get("word", MISSING_WORD), hashes, words.take(pa.array(order)), np.stack(tables))

    @property
    def folds(self) -> int:
        """Number of folds that training rows are dealt to; 0 when they are encoded as all others."""
        return len(self.encodings) - 1

    def transform(self, words: pa.Array, folds: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Encode words, shape (rows, outputs).

        Parameters
        ----------
        words : pyarrow.Array
            Strings.
        folds : ndarray of int, shape (rows,), optional
            Of training rows, from 0.
        """
        coded = pc.fill_null(words.cast(pa.string()), self.word).dictionary_encode()
        asked, last = coded.dictionary, len(self.hashes) - 1
        found = np.minimum(np.searchsorted(self.hashes, hash_strings(asked)), last)
        same = pc.equal(self.categories.take(pa.array(found)), asked).to_numpy(zero_copy_only=False)
        places = np.where(same, found, last + 1)[coded.indices.to_numpy()]
        encoded: NDArray[np.float64] = self.encodings[0 if folds is None else folds + 1, places]
        return encoded


def _table(learnt: Mapping[str, Any], order: NDArray[np.intp]) -> NDArray[np.float64]:
    known = np.array(learnt["encodings"], dtype=float)[:, order]
    return np.column_stack([known, np.array(learnt["rest"], dtype=float)]).T
