"""User feature functions: found by name, applied row-wise to Arrow-backed frames."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import DataError, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

WHERE = "features.function"


def load_function(path: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Import a feature function.

    Parameters
    ----------
    path : str
        ``module:function``; the module is looked for in the current directory as well.

    Raises
    ------
    WorkflowError
        When it cannot be imported or is not callable.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise WorkflowError(f"{path!r} is not of the form module:function", where=WHERE)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise WorkflowError(
            f"cannot import {path!r}: {error}", where=WHERE, mend="check the module's name and its place"
        ) from error
    if not callable(function):
        raise WorkflowError(f"{path!r} is not a function", where=WHERE)
    return function  # type: ignore[no-any-return] # a user's function: its types are checked when it is applied


def apply_function(frame: pd.DataFrame, path: str) -> pd.DataFrame:
    """Apply a feature function to one partition and hold it to being row-wise.

    Raises
    ------
    DataError
        When it fails, returns no DataFrame, or changes the number of rows.
    """
    function = load_function(path)
    try:
        result = function(frame)
    except Exception as error:
        raise DataError(
            f"the feature function failed: {type(error).__name__}: {error}",
            where=path,
            mend="it takes a DataFrame and returns one",
        ) from error
    if not hasattr(result, "columns") or len(result) != len(frame):
        raise DataError(
            "the feature function must return a DataFrame with the rows it was given",
            where=path,
            mend="make it row-wise: no filtering, no aggregation",
        )
    return result
