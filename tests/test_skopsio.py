"""skops is loaded without the array libraries that scikit-learn has adapters for, and these stay importable."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOADED = """
import sys
from headrace import skopsio
from sklearn.linear_model import SGDClassifier

print(*sorted({"torch", "dask.array", "numba"} & set(sys.modules)))
model = SGDClassifier(alpha=0.5)
written = skopsio.dumps(model)
print(skopsio.get_untrusted_types(data=written), skopsio.loads(written).alpha)
import dask.array, torch
print(torch.here, dask.array.ones(3).sum().compute())
"""

BESIDE = """
import importlib, threading
from headrace import skopsio

found = []
with skopsio._without(("torch",)):
    other = threading.Thread(target=lambda: found.append(importlib.import_module("torch").here))
    other.start()
    other.join()
print(found)
"""


def printed(program: str, place: Path) -> list[str]:
    """Run a program where PyTorch is installed, or what takes its place."""
    (place / "torch.py").write_text("here = True\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(place)!r})\n{program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_skops_is_loaded_without_other_array_libraries_which_can_be_imported_later(tmp_path: Path) -> None:
    assert printed(LOADED, tmp_path) == ["", "[] 0.5", "True 3.0"]


def test_another_thread_may_import_them_in_the_meantime(tmp_path: Path) -> None:
    assert printed(BESIDE, tmp_path) == ["[True]"]
