"""The steps of recipes over words and texts: hashing, encodings by frequency and target, bags of words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.preparation.plans import MISSING_WORD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Learnt = Mapping[str, Any]

MOST_LETTERS = 256
WHOLE = r"(?s).+"
"""A pattern that takes the whole text as one token."""


def _fill_words(learnt: Learnt, X: Any) -> Any:
    """Fill what is missing, as NaN or as None, with a word."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline

    how = {"strategy": "constant", "fill_value": learnt.get("word", MISSING_WORD)}
    steps = [("nan", SimpleImputer(**how)), ("none", SimpleImputer(missing_values=None, **how))]
    return Pipeline(steps).fit(X)


def _flat(_learnt: Learnt, X: Any) -> Any:
    """Make one sequence of texts of a frame of one column, as vectorisers want it."""
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(np.ravel, feature_names_out="one-to-one").fit(X)


def _hash_words(learnt: Learnt, X: Any) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        n_features=learnt["features"], token_pattern=WHOLE, lowercase=False, norm=None
    ).fit(X)


def _hash_tokens(learnt: Learnt, X: Any) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        n_features=learnt["features"], lowercase=learnt["lowercase"], ngram_range=tuple(learnt["ngrams"])
    ).fit(X)


def _count_tokens(learnt: Learnt, _X: Any) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(
        vocabulary=_vocabulary(learnt), lowercase=learnt["lowercase"], ngram_range=tuple(learnt["ngrams"])
    )
    return vectorizer.fit([""])


def _weigh_tokens(learnt: Learnt, _X: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        vocabulary=_vocabulary(learnt), lowercase=learnt["lowercase"], ngram_range=tuple(learnt["ngrams"])
    )
    vectorizer.fit([""])
    vectorizer.idf_ = np.array(learnt["idf"])
    return vectorizer


def _vocabulary(learnt: Learnt) -> dict[str, int]:
    return {token: place for place, token in enumerate(learnt["vocabulary"])}


def _encode(learnt: Learnt, X: Any) -> Any:
    """Replace categories by numbers, and those that training had not by `rest`.

    scikit-learn's `TargetEncoder` is what holds numbers by category; those of a frequency encoding are shares of rows.
    """
    from sklearn.preprocessing import TargetEncoder

    strings = bool(learnt["categories"]) and isinstance(learnt["categories"][0], str)
    categories = np.array(learnt["categories"], dtype=object if strings else float)
    rest = np.array(learnt["rest"], dtype=float)
    several = len(rest) > 1
    rows = max(2, len(rest))
    shown = np.resize(categories, (rows, 1))
    if hasattr(X, "columns"):
        shown = type(X)(shown, columns=X.columns)
    encoder = TargetEncoder(target_type="multiclass" if several else "continuous", smooth=1.0)
    # Fitted on a few rows: what it learns is replaced, and a million categories would take it 10 s.
    encoder.fit(shown, np.arange(rows, dtype=int if several else float))
    encoder.categories_ = [_in_one_block(categories) if strings else categories]
    encoder.encodings_ = [np.array(column, dtype=float) for column in learnt["encodings"]]
    encoder.target_mean_ = rest if several else float(rest[0])
    if several:
        encoder.classes_ = np.array(learnt["labels"], dtype=object)
    return encoder


def _in_one_block(words: NDArray[Any]) -> NDArray[Any]:
    """Return words as letters of one width, which skops writes as one block: each of a million objects costs it 10 kB.

    A word that is longer than the others by far, or ends with the letter that fills the width, keeps them objects.
    """
    whole = max(map(len, words)) <= MOST_LETTERS and not any(word.endswith("\0") for word in words)
    return words.astype(str) if whole else words


ENCODERS: dict[str, Callable[[Learnt, Any], Any]] = {
    "fill_words": _fill_words,
    "flat": _flat,
    "hash_words": _hash_words,
    "hash_tokens": _hash_tokens,
    "count_tokens": _count_tokens,
    "weigh_tokens": _weigh_tokens,
    "encode": _encode,
}
