"""The reader and writer of skops, without the array libraries that scikit-learn imports when it lists its estimators."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREIGN = ("torch", "cupy", "dask.array")
"""What scikit-learn has adapters for: some hundred MiB of each worker, where they are installed, that no estimator here uses."""


class _Denied:
    """A finder by which one thread does not find some modules; they can be imported later as ever."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.thread = names, get_ident()

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name in self.names and get_ident() == self.thread:
            raise ModuleNotFoundError(f"{name} is not wanted here", name=name)


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    finder = _Denied(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


# skops lists the estimators of scikit-learn when it is loaded, which imports every package of it, adapters included.
with _without(FOREIGN):
    from skops.io import dumps, get_untrusted_types, loads

__all__ = ["dumps", "get_untrusted_types", "loads"]
