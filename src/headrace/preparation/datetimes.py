"""Parts of a time: the one transformer that scikit-learn does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from headrace.preparation.times import PARTS, time_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


class DatetimeParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Parts of times as numbers: for each column, each part in the given order.

    Parameters
    ----------
    parts : sequence of str
        Of ``year, month, day, weekday, dayofyear, hour, minute, epoch_days``; see `time_part`.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        When fitted on a frame.
    """

    def __init__(self, parts: Sequence[str] = ("hour", "weekday")) -> None:
        self.parts = parts

    def fit(self, X: Any, y: None = None) -> Self:  # noqa: ARG002 - the interface of scikit-learn
        """Remember the columns of `X`."""
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise ValueError(f"unknown part {unknown[0]!r}; use some of {', '.join(PARTS)}")
        self.n_features_in_ = X.shape[1]
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.asarray(list(X.columns), dtype=object)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Take the parts.

        Parameters
        ----------
        X : DataFrame or ndarray of datetime64, shape (n, columns)
            Columns of times, also zoned or Arrow-backed ones.

        Returns
        -------
        ndarray of float64, shape (n, columns * parts)
            NaN where a time is missing.
        """
        columns = [X[name] for name in X.columns] if hasattr(X, "columns") else list(np.asarray(X).T)
        if len(columns) != self.n_features_in_:
            raise ValueError(f"X has {len(columns)} columns, not {self.n_features_in_}")
        taken = [time_part(_times(column), part) for column in columns for part in self.parts]
        return np.stack(taken, axis=1)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Return ``COLUMN_PART`` for each feature."""
        names = input_features if input_features is not None else getattr(self, "feature_names_in_", None)
        if names is None:
            names = [f"x{i}" for i in range(self.n_features_in_)]
        return np.asarray([f"{name}_{part}" for name in np.asarray(names) for part in self.parts], object)


def _times(column: Any) -> NDArray[np.datetime64]:
    """Convert one column to microseconds; `to_numpy` of a pandas column turns zones into UTC."""
    if hasattr(column, "to_numpy"):
        missing = np.datetime64("NaT")
        times: NDArray[np.datetime64] = column.to_numpy(dtype="datetime64[us]", na_value=missing)
        return times
    return np.asarray(column).astype("datetime64[us]")
