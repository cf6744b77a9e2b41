"""Columns that a local language model makes of a text column: the `data.embeddings` key (pure)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from headrace.data.schemas import is_text
from headrace.errors import WorkflowError
from headrace.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

WHERE = "data.embeddings"


class EmbeddingOptions(Options):
    """A text column and the sentence model that makes numbers of its meaning."""

    column: str = Field(description="Whose texts")
    model: str = Field(
        min_length=1,
        description="Folder, on every machine that works, with model.onnx (or onnx/model.onnx) and tokenizer.json",
    )
    dimensions: int | None = Field(
        default=None,
        ge=1,
        description="Keep so many numbers of each embedding, the first ones; all when left out",
    )


@dataclass(frozen=True)
class Embedding:
    """The columns that a model makes of a text column: a unit vector each row, missing where the text is."""

    column: str
    """Whose texts."""
    model: str
    """Folder of the model, as the user wrote it."""
    dimensions: int
    """Columns that are made."""
    digest: str
    """SHA-256 of the files that decide about the values."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are made."""
        return tuple(f"{self.column}_embedding_{k}" for k in range(self.dimensions))

    @property
    def words(self) -> str:
        """Say what the columns are."""
        size = f"{self.dimensions} numbers"
        return f"embedding of {self.column} in {size} by the model {self.model} (sha256 {self.digest[:12]})"

    def describe(self) -> dict[str, str]:
        """Say in words how each column is made."""
        return {name: f"number {k} of the {self.words}" for k, name in enumerate(self.names)}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        return cls(**document)


def made_names(embeddings: Iterable[Embedding]) -> list[str]:
    """Name the columns that are made."""
    return [name for each in embeddings for name in each.names]


def made_bytes(embeddings: Iterable[Embedding]) -> int:
    """Bytes that are made a row."""
    return 4 * sum(each.dimensions for each in embeddings)


def making(embeddings: Iterable[Embedding], names: Sequence[str]) -> tuple[Embedding, ...]:
    """Return those of which some of these columns come."""
    return tuple(each for each in embeddings if not set(names).isdisjoint(each.names))


def require_text(options: EmbeddingOptions, schema: pa.Schema, where: str) -> None:
    """Refuse a column that is not there or holds no text.

    Raises
    ------
    WorkflowError
        Names the key, and the columns that there are.
    """
    if options.column not in schema.names:
        texts = [field.name for field in schema if is_text(field.type)]
        raise WorkflowError(
            f"there is no column {options.column!r}",
            where=where,
            mend=f"columns of text are {', '.join(texts[:12]) or 'none'}",
        )
    kind = schema.field(options.column).type
    if not is_text(kind):
        raise WorkflowError(
            f"the column {options.column!r} is {kind}", where=where, mend="name a column of text"
        )


def require_new(embeddings: Sequence[Embedding], names: Iterable[str]) -> None:
    """Refuse columns that would have the name of another.

    Raises
    ------
    WorkflowError
        Names the key and the column.
    """
    held = set(names)
    for number, each in enumerate(embeddings):
        for name in each.names:
            if name in held:
                raise WorkflowError(
                    f"there is a column {name!r} already",
                    where=f"{WHERE}[{number}]",
                    mend="leave out what makes it twice, or rename that column",
                )
            held.add(name)
