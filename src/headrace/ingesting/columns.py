"""What is known of a column: its type and how its values are written; round trips through JSON (pure)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

KINDS: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "float": pa.float64(),
    "float32": pa.float32(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamp_utc": pa.timestamp("us", tz="UTC"),
}
"""Types by the names that an ingest file uses."""

TRUE = ("true", "True", "TRUE", "yes", "Yes", "YES", "Y", "y", "T", "t")
FALSE = ("false", "False", "FALSE", "no", "No", "NO", "N", "n", "F", "f")


@dataclass(frozen=True)
class ColumnPlan:
    """How one column is read from text."""

    name: str
    """Its name."""
    type: pa.DataType
    """Type of the values."""
    formats: tuple[str, ...] = ()
    """Formats of dates and times; none for ISO 8601 alone."""
    decimal: str = "."
    """Decimal sign."""
    thousands: str = ""
    """Sign between thousands."""

    @property
    def direct(self) -> bool:
        """Whether Arrow's own reader of CSV knows how the values are written."""
        return not (self.formats or self.thousands or self.decimal != ".")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document; ``type`` is for people, ``arrow`` is read back."""
        arrow = base64.b64encode(pa.schema([("", self.type)]).serialize().to_pybytes()).decode()
        shown = {"name": self.name, "type": str(self.type), "arrow": arrow}
        written = {"formats": list(self.formats), "decimal": self.decimal, "thousands": self.thousands}
        return shown | ({} if self.direct else written)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> ColumnPlan:
        """Read what `to_dict` wrote."""
        arrow = pa.py_buffer(base64.b64decode(document["arrow"]))
        return cls(
            document["name"],
            pa.ipc.read_schema(arrow).field(0).type,
            tuple(document.get("formats", ())),
            document.get("decimal", "."),
            document.get("thousands", ""),
        )


@dataclass(frozen=True)
class Layout:
    """All columns of an ingest, in their order, with what was noticed when they were found."""

    columns: tuple[ColumnPlan, ...]
    """One a column."""
    notes: tuple[str, ...] = ()
    """One line each."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        return pa.schema([(column.name, column.type) for column in self.columns])

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(column.name for column in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {"columns": [column.to_dict() for column in self.columns], "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Layout:
        """Read what `to_dict` wrote."""
        columns = tuple(ColumnPlan.from_dict(column) for column in document["columns"])
        return cls(columns, tuple(document["notes"]))


def unique_names(names: list[str]) -> list[str]:
    """Name the nameless by their place, and tell apart names that stand twice.

    Examples
    --------
    >>> unique_names(["a", "", "a "])
    ['a', 'column_2', 'a_3']
    """
    found: list[str] = []
    for place, name in enumerate(names, 1):
        text = name.strip() or f"column_{place}"
        found.append(f"{text}_{place}" if text in found else text)
    return found
