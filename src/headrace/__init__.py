"""Machine learning on data larger than memory: from Parquet to a trusted model, on Dask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.data.dataset import Dataset
    from headrace.exploring import profile
    from headrace.packaging.model import load
    from headrace.profiling.profile import Profile
    from headrace.runs import Workflow

__version__ = "0.1.0"
__all__ = ["Dataset", "Profile", "Workflow", "__version__", "load", "profile"]

# `import headrace` and `headrace --help` must not pay for Dask and scikit-learn, so a name is found when it is used.
_HOMES = {
    "Dataset": "headrace.data.dataset",
    "Profile": "headrace.profiling.profile",
    "Workflow": "headrace.runs",
    "load": "headrace.packaging.model",
    "profile": "headrace.exploring",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
