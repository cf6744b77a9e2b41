"""Resolved settings and learnt numbers of each column, as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from headrace.preparation.recipes import RecipePlan

MISSING_WORD = "missing"
"""What a missing string is filled with, when missing is a category of its own."""
BUCKET = "infrequent_sklearn"
"""What scikit-learn calls the feature of rare and unseen categories."""
UNSEEN_CODE = -1
"""Ordinal code of a category that training had not."""


@dataclass(frozen=True)
class NumericPlan:
    """One number to one feature: fill, clip, ``(x - center) / spread``; and an indicator.

    Attributes
    ----------
    name, kind : str
        The column; ``numeric`` or ``boolean``.
    impute : str
        ``mean``, ``median``, ``most_frequent``, ``constant`` or ``none``.
    fill : float or None
        What a missing value becomes; None leaves NaN.
    indicator : bool
        Whether a 0/1 feature says what was missing.
    low, high : float or None
        Bounds.
    scale : str
        ``standard``, ``minmax``, ``robust``, ``maxabs`` or ``none``.
    center, spread : float
        Of the filled and clipped training rows: mean and standard deviation, minimum and range, or median and
        quartile distance; 0 and 1 without scaling. A spread of zero is 1.
    rows : int
        Training rows, the missing ones included unless they stay NaN.
    """

    role: ClassVar[str] = "numeric"
    name: str
    kind: str
    impute: str
    fill: float | None
    indicator: bool
    low: float | None
    high: float | None
    scale: str
    center: float
    spread: float
    rows: int

    @property
    def fills_with_zero(self) -> bool:
        """Whether a missing value ends as exactly 0."""
        return self.fill is not None and self.fill == self.center and self.inside(self.fill)

    def inside(self, value: float) -> bool:
        """Tell whether clipping leaves a value as it is."""
        return self.low is None or self.high is None or self.low <= value <= self.high


@dataclass(frozen=True)
class CategoryPlan:
    """One string, or number that is a code, to one-hot features or one ordinal feature.

    Attributes
    ----------
    name, kind : str
        The column.
    encode : {"one_hot", "ordinal"}
    missing : {"category", "most_frequent"}
    fill : str, float or None
        What a missing value becomes; None: it stays missing, which is a category where `missing_is` says so.
    frequent : tuple of str or float
        Categories with a feature or code of their own, ascending.
    rare : tuple of str or float
        Categories of the common feature or code, ascending; of a one-hot column only one that stands for all, because
        unseen ones get the same feature.
    missing_is : {"", "frequent", "rare"}
        What a missing number is when it is a category.
    """

    role: ClassVar[str] = "category"
    name: str
    kind: str
    encode: Literal["one_hot", "ordinal"]
    missing: str
    fill: str | float | None
    frequent: tuple[str | float, ...]
    rare: tuple[str | float, ...]
    missing_is: Literal["", "frequent", "rare"] = ""

    @property
    def numbers(self) -> bool:
        """Whether the categories are numbers."""
        return self.kind != "string"

    @property
    def has_bucket(self) -> bool:
        """Whether there is a feature or code for rare categories."""
        return bool(self.rare) or self.missing_is == "rare"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of each one-hot feature, without the column."""
        own = tuple(str(value) for value in self.frequent)
        own += ("nan",) if self.missing_is == "frequent" else ()
        return (*own, BUCKET) if self.has_bucket else own


@dataclass(frozen=True)
class PartPlan:
    """One part of a time to one-hot features from `first` on, or to one feature ``(x - center) / spread``."""

    part: str
    first: int = 0
    values: int = 0
    """One-hot features; 0: one scaled number."""
    center: float = 0.0
    spread: float = 1.0


@dataclass(frozen=True)
class DatetimePlan:
    """One time to its parts: cyclic ones one-hot, others scaled; a missing time is all zeros.

    Attributes
    ----------
    name, kind : str
        The column.
    parts : tuple of PartPlan
    rows : int
        Training rows.
    """

    role: ClassVar[str] = "datetime"
    name: str
    kind: str
    parts: tuple[PartPlan, ...]
    rows: int

    def of_sort(self, one_hot: bool) -> tuple[PartPlan, ...]:
        """Return the parts that are one-hot, or those that are not."""
        return tuple(part for part in self.parts if bool(part.values) == one_hot)


@dataclass(frozen=True)
class Dropped:
    """A column that becomes no feature, and why."""

    name: str
    kind: str
    why: str
    asked: bool = False
    """Whether the user said so."""


ColumnPlan: TypeAlias = NumericPlan | CategoryPlan | DatetimePlan | RecipePlan


def columns_of(plan: ColumnPlan) -> tuple[str, ...]:
    """Name the columns that a plan reads."""
    return plan.columns if isinstance(plan, RecipePlan) else (plan.name,)


def plan_to_dict(plan: ColumnPlan) -> dict[str, Any]:
    """Return a finite JSON document."""
    return {"role": plan.role, **(plan.held() if isinstance(plan, RecipePlan) else asdict(plan))}


def plan_from_dict(document: dict[str, Any]) -> ColumnPlan:
    """Rebuild from `plan_to_dict`."""
    held = {key: value for key, value in document.items() if key != "role"}
    if document["role"] == RecipePlan.role:
        return RecipePlan.from_held(held)
    if document["role"] == "numeric":
        return NumericPlan(**held)
    if document["role"] == "category":
        return CategoryPlan(**{**held, "frequent": tuple(held["frequent"]), "rare": tuple(held["rare"])})
    return DatetimePlan(**{**held, "parts": tuple(PartPlan(**part) for part in held["parts"])})


def describe_plan(plan: ColumnPlan) -> dict[str, str]:
    """Say in words what is done and with which numbers: keys ``column, kind, steps, parameters``."""
    if isinstance(plan, RecipePlan):
        return plan.describe()
    if isinstance(plan, NumericPlan):
        steps, numbers = _describe_numeric(plan)
    elif isinstance(plan, CategoryPlan):
        steps = [plan.encode.replace("_", "-")]
        numbers = [f"{len(plan.frequent) + (plan.missing_is == 'frequent')} categories"]
        if plan.has_bucket:
            numbers.append(
                "rare and unseen ones together" if plan.encode == "one_hot" else "rare ones together"
            )
        if plan.fill is not None:
            steps.insert(0, f"fill ({plan.missing.replace('_', ' ')})")
            numbers.append(f"missing: {plan.fill}")
    else:
        steps = [f"{part.part} ({'one-hot' if part.values else 'standard'})" for part in plan.parts]
        numbers = [
            f"{part.part}: mean {part.center:.6g}, std {part.spread:.6g}"
            for part in plan.of_sort(one_hot=False)
        ]
    return {
        "column": plan.name,
        "kind": plan.kind,
        "steps": ", ".join(steps) or "as it is",
        "parameters": "; ".join(numbers),
    }


def _describe_numeric(plan: NumericPlan) -> tuple[list[str], list[str]]:
    steps, numbers = [], []
    if plan.fill is not None:
        steps.append(f"fill ({plan.impute.replace('_', ' ')})")
        numbers.append(f"missing: {plan.fill:.6g}")
    if plan.indicator:
        steps.append("indicator")
    if plan.low is not None:
        steps.append("clip")
        numbers.append(f"bounds {plan.low:.6g} to {plan.high:.6g}")
    if plan.scale != "none":
        steps.append(f"scale ({plan.scale})")
        center, spread = {
            "standard": ("mean", "std"),
            "minmax": ("minimum", "range"),
            "maxabs": ("from", "largest"),
        }.get(plan.scale, ("median", "quartile distance"))
        numbers.append(f"{center} {plan.center:.6g}, {spread} {plan.spread:.6g}")
    return steps, numbers
