"""Sheets of Excel and OpenDocument workbooks, by calamine."""

from __future__ import annotations

import io
from typing import Any

from headrace.errors import DataError, MissingExtraError
from headrace.ingesting.columns import unique_names


def sheet_rows(data: bytes, sheet: str | int, skip: int, where: str) -> list[dict[str, Any]]:
    """Read a sheet; its first row, after those that are skipped, holds the names. Rows without a value are left out.

    Parameters
    ----------
    data : bytes
        The workbook; it is held in memory whole, a sheet has at most 1,048,576 rows.
    sheet : str or int
        Name or number of the sheet.
    skip : int
        Rows before the names.
    where : str
        Stands for the workbook in errors.

    Raises
    ------
    DataError
        It is no workbook, or has no such sheet.
    MissingExtraError
        python-calamine is not installed.
    """
    try:
        import python_calamine
    except ImportError:
        raise MissingExtraError.for_extra("python-calamine", "ingest") from None
    try:
        workbook = python_calamine.load_workbook(io.BytesIO(data))
    except python_calamine.CalamineError as error:
        raise DataError(f"is not a workbook ({error})", where=where, mend="check source.format") from None
    names = workbook.sheet_names
    if (isinstance(sheet, str) and sheet not in names) or (
        isinstance(sheet, int) and not 0 <= sheet < len(names)
    ):
        raise DataError(f"has no sheet {sheet!r}", where=where, mend=f"sheets are: {', '.join(names)}")
    opened = (
        workbook.get_sheet_by_name(sheet) if isinstance(sheet, str) else workbook.get_sheet_by_index(sheet)
    )
    rows = opened.to_python(skip_empty_area=False)[skip:]
    if not rows:
        return []
    heads = unique_names([str(cell) for cell in rows[0]])
    return [
        dict(zip(heads, map(_value, row), strict=True)) for row in rows[1:] if any(cell != "" for cell in row)
    ]


def _value(cell: Any) -> Any:
    """Empty cells come as empty strings."""
    return None if cell == "" and isinstance(cell, str) else cell
