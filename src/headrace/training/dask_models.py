"""Linear models of dask-ml: which there are, what of scikit-learn each becomes, and what is refused of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headrace.errors import WorkflowError

SOLVERS = ("lbfgs", "newton", "admm")
"""Those that hold no number for each row from one step to the next."""


@dataclass(frozen=True)
class Twin:
    """What a model of dask-ml is kept as."""

    task: str
    estimator: str
    """Import path of a linear model of scikit-learn that predicts the same from the same coefficients."""


DASK_MODELS: dict[str, Twin] = {
    "dask_ml.linear_model.LogisticRegression": Twin(
        "classification", "sklearn.linear_model.LogisticRegression"
    ),
    "dask_ml.linear_model.LinearRegression": Twin("regression", "sklearn.linear_model.LinearRegression"),
    "dask_ml.linear_model.PoissonRegression": Twin("regression", "sklearn.linear_model.PoissonRegressor"),
}
"""By import path."""


def require_solver(estimator: Any, *, where: str) -> None:
    """Refuse solvers that keep all rows.

    Raises
    ------
    WorkflowError
        Naming the key of the workflow file.
    """
    if estimator.solver not in SOLVERS:
        raise WorkflowError(
            f"the solver {estimator.solver!r} is not one that holds no row between its steps",
            where=f"{where}.params.solver",
            mend=f"use {', '.join(SOLVERS)}",
        )
