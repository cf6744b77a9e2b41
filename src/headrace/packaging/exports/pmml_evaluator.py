"""A PMML file run by an evaluator in Java that knows nothing of headrace."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import MissingExtraError, PackageError
from headrace.packaging.exports.pmml_elements import PMML

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from headrace.packaging.signature import Signature

_EVALUATE = """
import json, sys
from pypmml import Model, PMMLContext
PMMLContext.getOrCreate(gateway="jpype")
for line in sys.stdin:
    asked = json.loads(line)
    model = Model.fromString(asked["model"])
    said = [model.predict(dict(zip(asked["columns"], row))) for row in asked["rows"]]
    print(json.dumps([[each[name] for name in asked["outputs"]] for each in said]))
"""
"""Rows one by one, as its own JSON has no infinities, and a frame would be rounded to ten digits on the way."""


class PmmlModel:
    """A PMML file of `headrace.packaging.exports.pmml_file.write_pmml`, ready to be asked.

    Parameters
    ----------
    content : bytes
        The file.
    signature : Signature
        Of the package that it lies in.

    Raises
    ------
    MissingExtraError
        Without the extra ``pmml``.
    PackageError
        Without Java.
    """

    def __init__(self, content: bytes, signature: Signature) -> None:
        if find_spec("pypmml") is None:
            raise MissingExtraError.for_extra("pypmml", "pmml")
        if not has_java():
            raise PackageError(
                "is checked by an evaluator in Java, and there is no java here",
                where=PMML,
                mend="install a Java runtime (8 or newer) and put java on the PATH",
            )
        self.says = "probabilities" if signature.classes else "prediction"
        self.outputs = [f"probability_{label}" for label in signature.classes] or ["prediction"]
        self.text = content.decode()

    def ask(self, table: pa.Table) -> np.ndarray[Any, Any]:
        """Compute what the model says of conformed rows: probabilities, shape (rows, classes), or predictions, (rows,).

        Raises
        ------
        PackageError
            When the evaluator cannot load the file, or cannot be run.
        """
        (said,) = evaluate([(self, table)])
        return said


def evaluate(asked: Sequence[tuple[PmmlModel, pa.Table]]) -> list[np.ndarray[Any, Any]]:
    """Ask models about rows: by PMML4S in a process of its own, which ends with the last answer.

    In this process a Java machine would stay for good; py4j, its other way, opens a port that asks nobody who they are.

    Parameters
    ----------
    asked : sequence of (PmmlModel, Table)
        Conformed rows for each model.

    Raises
    ------
    PackageError
        When the evaluator cannot load a file, or cannot be run.
    """
    done = subprocess.run(  # noqa: S603 - our own program, in the same Python
        [sys.executable, "-c", _EVALUATE],
        input="".join(_question(model, table) + "\n" for model, table in asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise PackageError(f"cannot be evaluated: {reason}", where=PMML)
    said = [np.array(json.loads(line), dtype=float) for line in done.stdout.splitlines()[-len(asked) :]]
    return [
        values if model.says == "probabilities" else values[:, 0]
        for values, (model, _) in zip(said, asked, strict=True)
    ]


def _question(model: PmmlModel, table: pa.Table) -> str:
    columns = [column.to_pylist() for column in table.columns]
    return json.dumps(
        {
            "model": model.text,
            "columns": table.column_names,
            "rows": list(zip(*columns, strict=True)),
            "outputs": model.outputs,
        }
    )


def has_java() -> bool:
    """Tell whether the evaluator can run here."""
    return shutil.which("java") is not None
