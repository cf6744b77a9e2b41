"""Example rows: values that the training data is known to hold, for forms, OpenAPI and warming up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.packaging.signature import InputColumn, Signature


def example_row(signature: Signature) -> dict[str, Any]:
    """Make a row that the model takes and its guard has nothing to say about."""
    return {column.name: example(column) for column in signature.asked}


def example(column: InputColumn) -> Any:
    """Make a value of a column, as JSON holds it.

    Examples
    --------
    >>> from headrace.packaging.signature import InputColumn
    >>> example(InputColumn("size", "double", "numeric", False, 0.0, 3.0))
    1.5
    >>> example(InputColumn("city", "string", "string", False, categories=("Oslo", "b")))
    'Oslo'
    """
    if column.kind == "boolean":
        return False
    if column.kind == "numeric":
        return _middle(column)
    if column.kind == "datetime":
        return _moment(column.minimum)
    return str(column.categories[0]) if column.categories else ""


def is_whole(column: InputColumn) -> bool:
    """Tell whether the training data had integers in a column."""
    return column.type.startswith(("int", "uint"))


def _middle(column: InputColumn) -> float | int:
    low, high = column.minimum, column.maximum
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        middle = low / 2 + high / 2
        return int(middle) if is_whole(column) else float(f"{middle:.4g}") if low < middle < high else middle
    return 0


def _moment(value: Any) -> str:
    text = str(value) if isinstance(value, str) else "2000-01-01"
    return text.replace(" ", "T")[:26]
