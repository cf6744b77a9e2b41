"""Words and texts to numbers: hashing, frequency, target statistics out of fold, and weighted tokens, from one pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import DataError, WorkflowError
from headrace.preparation.recipes import RecipePlan, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.accumulators.grouped import GroupedSums
    from headrace.preparation.options import CategoricalOptions
    from headrace.profiling.profile import ColumnProfile

GENERAL = frozenset({"hashing", "frequency", "target", "bag_of_words", "tfidf", "text_hashing"})
"""Encodings that are recipes."""
COUNTED = frozenset({"frequency", "target", "bag_of_words", "tfidf"})
"""Encodings that need counts beside the profile, taken in the same pass."""
TEXTS = frozenset({"bag_of_words", "tfidf", "text_hashing"})
"""Encodings whose tokens may be reduced to singular vectors."""
REDUCED_TOKENS = 2_048
"""Tokens that are reduced at most: their products take 8 d^2 bytes, 32 MiB."""
NO_TOKEN = ""
"""Stands for each text, so that texts without a token count."""
TEXT_TOKENS = 60
"""Tokens of a text of which we know nothing, for the width of a row."""


def fit_encoding(
    column: ColumnProfile, options: CategoricalOptions, counted: GroupedSums | None
) -> RecipePlan:
    """Learn one column of strings, or for frequency and target of numbers that are codes.

    Parameters
    ----------
    column : ColumnProfile
    options : CategoricalOptions
        ``encode`` one of `GENERAL`.
    counted : GroupedSums or None
        Of the training rows, for encodings of `COUNTED`.

    Raises
    ------
    DataError
        When no token occurs often enough.
    """
    name, encode = column.name, options.encode
    fill = Step("numbers") if column.kind != "string" else Step("fill_words")
    if encode == "hashing":
        steps = (
            fill,
            Step("flat"),
            Step("hash_words", {"features": options.hash_features}, "each value to one"),
        )
        return _hashed(column, steps, options.hash_features, 1)
    if encode == "text_hashing":
        learnt = {
            "features": options.hash_features,
            "lowercase": options.lowercase,
            "ngrams": list(options.ngrams),
        }
        steps = (
            Step("fill_words", {"word": ""}),
            Step("flat"),
            Step("hash_tokens", learnt, "each token to one"),
        )
        return _hashed(column, steps, options.hash_features, min(TEXT_TOKENS, options.hash_features))
    assert counted is not None
    if encode in {"tfidf", "bag_of_words"}:
        return _fit_tokens(column, options, counted)
    step = _frequency(counted) if encode == "frequency" else _target(counted, options)
    labels = step.learnt.get("labels", [])
    names = tuple(f"{name}_{label}" for label in labels) if len(labels) > 1 else (name,)
    return RecipePlan(name, column.kind, (name,), (fill, step), names, len(names))


def held_tokens(options: CategoricalOptions, name: str) -> int:
    """Return how many tokens of a text are kept at most: fewer, unless the workflow says how many, when they are reduced.

    Raises
    ------
    WorkflowError
        When it asks for more than can be reduced.
    """
    if options.components is None:
        return options.max_tokens
    if "max_tokens" not in options.model_fields_set:
        return min(options.max_tokens, REDUCED_TOKENS)
    if options.max_tokens > REDUCED_TOKENS:
        raise _too_many(name, "max_tokens", options.max_tokens)
    return options.max_tokens


def reduced_width(options: CategoricalOptions, name: str) -> int | None:
    """Return how many tokens of a text are reduced to singular vectors at most; None when they are not.

    Raises
    ------
    WorkflowError
        When there are more than can be.
    """
    if options.components is None or options.encode not in TEXTS:
        return None
    if options.encode != "text_hashing":
        return held_tokens(options, name)
    if options.hash_features > REDUCED_TOKENS:
        raise _too_many(name, "hash_features", options.hash_features)
    return options.hash_features


def _too_many(name: str, key: str, wanted: int) -> WorkflowError:
    return WorkflowError(
        f"components come from the products of at most {REDUCED_TOKENS:,} tokens, and {key} is {wanted:,}",
        where=f"prepare.columns.{name}.{key}",
        mend=f"lower {key}, or leave components out",
    )


def _hashed(column: ColumnProfile, steps: tuple[Step, ...], features: int, stored: int) -> RecipePlan:
    names = tuple(f"{column.name}_hash{i}" for i in range(features))
    return RecipePlan(column.name, column.kind, (column.name,), steps, names, stored, sparse=True)


def _frequency(counted: GroupedSums) -> Step:
    held = counted.ordered()
    shares = (held.counts / max(1, held.rows)).tolist()
    words = f"{len(shares):,} values to their share of the rows{_error(counted)}"
    return Step(
        "encode", {"categories": held.values.to_pylist(), "encodings": [shares], "rest": [0.0]}, words
    )


def _error(counted: GroupedSums) -> str:
    return f", each too low by at most {counted.error:,} rows" if counted.error else ""


def _target(counted: GroupedSums, options: CategoricalOptions) -> Step:
    r"""Encode by the mean of the target, drawn to that of all rows.

    With n rows of a category, its mean m and the mean M of all, :math:`\lambda m + (1 - \lambda) M`,
    :math:`\lambda = n / (n + s)` for a number s, or of "auto" :math:`n \sigma^2 / (n \sigma^2 + \sigma_c^2)`, with the variances of the
    target over all rows and within the category (Micci-Barreca 2001; as `sklearn.preprocessing.TargetEncoder`). For training rows the
    same from the other folds alone, summed and never subtracted.
    """
    held = counted.ordered()
    labels = sorted({name.partition("|")[2] for name in held.names if name.startswith("y")})
    # Of two classes one is enough.
    outputs = labels[1:] if len(labels) == 2 else labels
    every = list(range(options.folds))
    whole = _encodings(held, outputs, every, options.smooth)
    folds = [_encodings(held, outputs, [f for f in every if f != fold], options.smooth) for fold in every]
    words = f"{len(held.counts):,} values to the mean of the target, of {options.folds} folds in training{_error(counted)}"
    return Step(
        "encode",
        {"categories": held.values.to_pylist(), "labels": outputs, **whole, "folds": folds},
        words,
    )


def _encodings(
    held: GroupedSums, outputs: list[str], folds: list[int], smooth: float | str
) -> dict[str, list[Any]]:
    encodings, rest = [], []
    n = _summed(held, "n", folds)
    rows = sum(held.total(f"n{fold}") for fold in folds)
    for label in outputs:
        y, squares = (_summed(held, key, folds, label) for key in ("y", "q"))
        total, total_squares = (
            sum(held.total(f"{key}{fold}|{label}") for fold in folds) for key in ("y", "q")
        )
        overall = total / rows if rows else math.nan
        variance = max(0.0, total_squares / rows - overall**2) if rows else 0.0
        with np.errstate(all="ignore"):
            mean = np.where(n > 0, y / n, overall)
            within = np.maximum(squares / n - mean**2, 0.0)
            share = n * variance / (n * variance + within) if smooth == "auto" else n / (n + float(smooth))
        share = np.where(n > 0, np.nan_to_num(share, nan=1.0), 0.0)
        encodings.append((share * mean + (1 - share) * overall).tolist())
        rest.append(overall)
    return {"encodings": encodings, "rest": rest}


def _summed(held: GroupedSums, key: str, folds: list[int], label: str | None = None) -> NDArray[np.float64]:
    names = [f"{key}{fold}" if label is None else f"{key}{fold}|{label}" for fold in folds]
    return np.asarray(np.sum([held.column(name) for name in names], axis=0))


def _fit_tokens(column: ColumnProfile, options: CategoricalOptions, counted: GroupedSums) -> RecipePlan:
    r"""Take the most frequent tokens, and for tfidf their weight :math:`\log((1 + n) / (1 + d)) + 1` (n texts, d with the token).

    As `TfidfVectorizer`: tokens by their count in all texts, of equal counts those first in order; rows with their length 1.
    """
    documents = counted.total("texts")
    vocabulary, within = _frequent_tokens(counted, options, column.name)
    if not vocabulary:
        raise DataError(
            f"no token stands in {options.min_documents} rows",
            where=f"column {column.name!r}",
            mend="lower min_documents, or drop the column",
        )
    learnt: dict[str, Any] = {
        "vocabulary": vocabulary,
        "lowercase": options.lowercase,
        "ngrams": list(options.ngrams),
    }
    sort = "count_tokens"
    if options.encode == "tfidf":
        sort = "weigh_tokens"
        learnt["idf"] = (np.log((1 + documents) / (1 + within)) + 1).tolist()
    words = f"{len(vocabulary):,} tokens of {documents:,.0f} texts{_error(counted)}"
    steps = (Step("fill_words", {"word": ""}), Step("flat"), Step(sort, learnt, words))
    stored = max(1, min(len(vocabulary), round(float(within.sum()) / max(1.0, documents))))
    names = tuple(f"{column.name}_{token}" for token in vocabulary)
    return RecipePlan(column.name, column.kind, (column.name,), steps, names, stored, sparse=True)


def _frequent_tokens(
    counted: GroupedSums, options: CategoricalOptions, name: str
) -> tuple[list[str], NDArray[np.float64]]:
    held = counted.ordered()
    tokens = held.values.to_pylist()
    within = held.column("documents")
    often = [i for i in range(len(tokens)) if within[i] >= options.min_documents and tokens[i] != NO_TOKEN]
    often.sort(key=lambda i: (-int(held.counts[i]), tokens[i]))
    kept = sorted(often[: held_tokens(options, name)])
    return [tokens[i] for i in kept], within[kept]
