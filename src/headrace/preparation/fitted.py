"""Preparation: how each column becomes features, learnt from the profile alone; and as a scikit-learn ColumnTransformer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from headrace.errors import DataError
from headrace.preparation.composition import compose
from headrace.preparation.defaults import check_columns
from headrace.preparation.layout import Layout
from headrace.preparation.plans import (
    ColumnPlan,
    Dropped,
    columns_of,
    describe_plan,
    plan_from_dict,
    plan_to_dict,
)
from headrace.preparation.rules import Rule, rule_from_dict
from headrace.preparation.witness import fit_transformer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sklearn.compose import ColumnTransformer

    from headrace.preparation.options import PrepareOptions
    from headrace.profiling.profile import Profile

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Preparation:
    """How columns become features.

    Attributes
    ----------
    columns : tuple of ColumnPlan
        Resolved settings and learnt numbers of each column that becomes features, in the order of the data.
    dropped : tuple of Dropped
        Columns that become none, and why.
    rules : tuple of RowRule or ForestRule
        Which rows are not trained on.
    """

    columns: tuple[ColumnPlan, ...]
    dropped: tuple[Dropped, ...] = ()
    rules: tuple[Rule, ...] = ()

    @cached_property
    def layout(self) -> Layout:
        """Order of the features."""
        return Layout.of(self.columns)

    @property
    def features_in(self) -> tuple[str, ...]:
        """Columns that are read by the features."""
        return tuple(dict.fromkeys(name for plan in self.columns for name in columns_of(plan)))

    @property
    def names_out(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.layout.names

    @property
    def notes(self) -> tuple[str, ...]:
        """What was dropped without being asked for, one line a column; and which rows are not trained on."""
        dropped = (f"{item.name}: dropped, {item.why}" for item in self.dropped if not item.asked)
        return (*dropped, *(rule.note for rule in self.rules))

    @property
    def digest(self) -> str:
        """SHA-256 of `to_json`."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def describe(self) -> list[dict[str, str]]:
        """Say in words what happens to each column: rows with ``column, kind, steps, parameters``."""
        dropped = [
            {"column": item.name, "kind": item.kind, "steps": "dropped", "parameters": item.why}
            for item in self.dropped
        ]
        left_out = [
            {"column": column, "kind": "rows", "steps": "left out of training", "parameters": words}
            for column, _, words in (rule.note.partition(": ") for rule in self.rules)
        ]
        return [*(describe_plan(plan) for plan in self.columns), *left_out, *dropped]

    def to_dict(self) -> dict[str, Any]:
        """Return a finite JSON document: ``schema_version``, ``columns``, ``dropped``, ``rules``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "columns": [plan_to_dict(plan) for plan in self.columns],
            "dropped": [asdict(item) for item in self.dropped],
            "rules": [rule.to_dict() for rule in self.rules],
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`.

        Raises
        ------
        DataError
            When the document is not a preparation of this schema version.
        """
        if document.get("schema_version") != SCHEMA_VERSION:
            raise DataError(f"is not a preparation of schema version {SCHEMA_VERSION}")
        return cls(
            tuple(plan_from_dict(item) for item in document["columns"]),
            tuple(Dropped(**item) for item in document["dropped"]),
            tuple(rule_from_dict(item) for item in document["rules"]),
        )

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild from `to_json`."""
        return cls.from_dict(json.loads(text))


def fit_preparation(
    profile: Profile,
    options: PrepareOptions,
    *,
    features: Sequence[str],
    found: Mapping[str, Any] | None = None,
) -> Preparation:
    """Learn a preparation from a profile, and what was found beside it, without reading data.

    Parameters
    ----------
    profile : Profile
        Of the training rows.
    options : PrepareOptions
    features : sequence of str
        Columns that may become features.
    found : mapping of str, optional
        What the finders of `headrace.preparation.finders.finders_of` found in the same pass.

    Raises
    ------
    WorkflowError
        When an option names a column that does not exist, or does not fit its kind.
    DataError
        When a column holds infinities, is not in the profile, or no column is left.
    """
    check_columns(options, [*profile.columns, *options.derive])
    absent = [name for name in features if name not in profile.columns]
    if absent:
        raise DataError("is not in the profile", where=f"column {absent[0]!r}", mend="profile the data anew")
    plans, dropped, rules = compose(profile, options, features, found or {})
    if not plans:
        reasons = "; ".join(f"{item.name}: {item.why}" for item in dropped[:5])
        raise DataError(
            f"no column is left to learn from ({reasons or 'none was given'})",
            where="prepare",
            mend="keep a column in prepare.columns or data.drop",
        )
    return Preparation(tuple(plans), tuple(dropped), tuple(rules))


def build_transformer(p: Preparation, *, dense: bool = False) -> ColumnTransformer:
    """Build a fitted transformer of plain scikit-learn parts.

    Takes pandas frames with the columns `Preparation.features_in`, in any order and among others: numbers of any numpy, nullable or
    Arrow-backed type; strings as object columns with NaN or None, ``str`` or categories, and ``string`` or Arrow-backed ones without
    missing values (scikit-learn cannot compare ``pd.NA``); times of any unit, also zoned ones. Infinities are refused.

    Parameters
    ----------
    p : Preparation
    dense : bool
        Give dense matrices even where `Preparation.layout` is sparse, for estimators that take no sparse ones.

    Returns
    -------
    ColumnTransformer
        Sparse (CSR) or dense output, always the same; float64 (float32 for frames of float32 alone).
    """
    return fit_transformer(p.layout, p.columns, dense=dense)
