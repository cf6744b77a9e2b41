"""Signature: what a model takes and gives, column by column."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from headrace.data.embeddings import Embedding
from headrace.data.history import History
from headrace.data.pii import Treatment

Scalar = str | int | float | bool
MAX_CATEGORIES = 100


@dataclass(frozen=True)
class InputColumn:
    """One column that a model reads.

    Attributes
    ----------
    name : str
        Its name in the data.
    type : str
        The Arrow type in the training data, as ``str(pa.DataType)``.
    kind : str
        ``numeric``, ``boolean``, ``string``, ``datetime`` or ``other``.
    nullable : bool
        Whether it was ever missing in the training data.
    minimum, maximum : scalar, optional
        The range in the training data; times in ISO format.
    categories : tuple of scalars, optional
        The most frequent values, at most 100; none for columns that are not categories.
    """

    name: str
    type: str
    kind: str
    nullable: bool = True
    minimum: Scalar | None = None
    maximum: Scalar | None = None
    categories: tuple[Scalar, ...] | None = None

    def __post_init__(self) -> None:
        # values often come from numpy or Arrow; what is kept must be what JSON gives back
        object.__setattr__(self, "minimum", plain(self.minimum))
        object.__setattr__(self, "maximum", plain(self.maximum))
        if self.categories is not None:
            kept = tuple(plain(value) for value in self.categories[:MAX_CATEGORIES])
            object.__setattr__(self, "categories", kept)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        document = asdict(self)
        document["categories"] = None if self.categories is None else list(self.categories)
        return document

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        categories = document.get("categories")
        return cls(**{**document, "categories": None if categories is None else tuple(categories)})


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives.

    Attributes
    ----------
    inputs : tuple of InputColumn
        The columns that the pipeline reads, after the feature function if there is one.
    task : str
        ``classification``, ``regression`` or ``clustering``.
    target : str, optional
        The column that is predicted.
    classes : tuple of scalars
        The labels in the order of `predict_proba`; empty unless the task is classification.
    features_function : str, optional
        ``module:function``, a user's function from a DataFrame to a DataFrame, row by row.
    raw_inputs : tuple of InputColumn
        The columns that the feature function needs; empty: it is given the frame as it comes.
    history : History, optional
        Which inputs are made from the rows before, and how: batch scoring makes them, who asks for single rows gives
        them.
    embeddings : tuple of Embedding
        Which inputs language models make of texts, in the same way.
    pii : tuple of Treatment
        What is done with columns about persons before anything else; it was done in training, and is done by all that
        ask the model.
    threshold : float, optional
        Of two classes: the probability from which the second one is predicted; without it the more probable one is.
    """

    inputs: tuple[InputColumn, ...]
    task: str
    target: str | None = None
    classes: tuple[Scalar, ...] = ()
    features_function: str | None = None
    raw_inputs: tuple[InputColumn, ...] = ()
    history: History | None = None
    embeddings: tuple[Embedding, ...] = ()
    pii: tuple[Treatment, ...] = ()
    threshold: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(plain(label) for label in self.classes))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            "inputs": [column.to_dict() for column in self.inputs],
            "task": self.task,
            "target": self.target,
            "classes": list(self.classes),
            "features_function": self.features_function,
            "raw_inputs": [column.to_dict() for column in self.raw_inputs],
            "history": None if self.history is None else self.history.to_dict(),
            "embeddings": [each.to_dict() for each in self.embeddings],
            "pii": [each.to_dict() for each in self.pii],
            "threshold": self.threshold,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        return cls(
            inputs=tuple(InputColumn.from_dict(column) for column in document["inputs"]),
            task=document["task"],
            target=document.get("target"),
            classes=tuple(document.get("classes", ())),
            features_function=document.get("features_function"),
            raw_inputs=tuple(InputColumn.from_dict(column) for column in document.get("raw_inputs", ())),
            history=History.from_dict(document["history"]) if document.get("history") else None,
            embeddings=tuple(Embedding.from_dict(each) for each in document.get("embeddings", ())),
            pii=tuple(Treatment.from_dict(each) for each in document.get("pii", ())),
            threshold=document.get("threshold"),
        )

    @property
    def asked(self) -> tuple[InputColumn, ...]:
        """The inputs as those give them who ask: ranges and categories of treated columns are those after it, and left out."""
        treated = {each.column for each in self.pii}
        return tuple(
            replace(column, minimum=None, maximum=None, categories=None) if column.name in treated else column
            for column in self.inputs
        )

    def made(self) -> dict[str, str]:
        """Say in words how each column is made that is no column of the data, and what is done with those about persons."""
        made = self.history.describe() if self.history else {}
        made |= {each.column: f"{each.words} before the model sees it" for each in self.pii}
        return made | {name: words for each in self.embeddings for name, words in each.describe().items()}

    def codes(self, probabilities: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Say which class is predicted from probabilities of shape (rows, classes), as places in `classes`."""
        return decided(probabilities, self.threshold)


def decided(probabilities: np.ndarray[Any, Any], threshold: float | None) -> np.ndarray[Any, Any]:
    """Decide for a class, by its place: of two the second from `threshold` on, without one the most probable."""
    if threshold is None:
        return np.asarray(probabilities.argmax(axis=1))
    return (probabilities[:, 1] >= threshold).astype(np.int64)


def plain(value: Any) -> Any:
    """Turn a scalar into one that JSON gives back unchanged.

    Times become ISO text, numpy scalars Python's, and what JSON has no word for (NaN, infinities) None.

    Examples
    --------
    >>> plain(np.float32(0.5)), plain(float("nan")), plain(dt.date(2013, 1, 1))
    (0.5, None, '2013-01-01')
    """
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return str(value)


def finite(document: Any) -> Any:
    """Apply `plain` to every leaf of a document.

    Examples
    --------
    >>> finite({"a": [np.int64(1), float("inf")]})
    {'a': [1, None]}
    """
    if isinstance(document, dict):
        return {str(key): finite(value) for key, value in document.items()}
    if isinstance(document, np.ndarray):
        return finite(document.tolist())
    if isinstance(document, (list, tuple)):
        return [finite(value) for value in document]
    return plain(document)
