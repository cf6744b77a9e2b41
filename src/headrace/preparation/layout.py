"""Which feature stands where: the order in which both the transformer and the compiled path write."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from headrace.preparation.plans import CategoryPlan, ColumnPlan, DatetimePlan, NumericPlan
from headrace.preparation.recipes import RecipePlan

if TYPE_CHECKING:
    from collections.abc import Sequence

SPARSE_BELOW = 0.25
"""Share of stored numbers below which a matrix is sparse: a number in CSR takes twice the memory and more time."""


@dataclass(frozen=True)
class Group:
    """Columns with equal settings, prepared by one scikit-learn transformer.

    Attributes
    ----------
    name : str
        Of the step in the `ColumnTransformer`.
    sort : str
        ``times``, ``ordinal``, ``numbers``, ``missing``, ``one_hot`` or ``time_cycles``.
    plans : tuple of ColumnPlan
    start : int
        Its first feature.
    names : tuple of str
        Of its features.
    """

    name: str
    sort: str
    plans: tuple[Any, ...]
    start: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """All features in order.

    First what every row has: scaled parts of times, ordinal codes, numbers. Numbers come last of these whose missing values end as 0,
    and their indicators next: a row then stores either the number or the indicator, and so as many entries as any other
    row. Then the remaining indicators, and one-hot features.

    Attributes
    ----------
    groups : tuple of Group
    sparse : bool
        Whether blocks are CSR: when less than a quarter of a row is stored.
    nnz_per_row : int
        Entries that a CSR row stores before those of recipes.
    recipes : tuple of RecipePlan
        Whose features come last; the compiled path runs the transformers themselves.
    """

    groups: tuple[Group, ...]
    sparse: bool
    nnz_per_row: int
    recipes: tuple[RecipePlan, ...] = ()

    @classmethod
    def of(cls, plans: Sequence[ColumnPlan]) -> Self:
        """Lay out the features of these columns."""
        times = [plan for plan in plans if isinstance(plan, DatetimePlan)]
        numbers = [plan for plan in plans if isinstance(plan, NumericPlan)]
        categories = [plan for plan in plans if isinstance(plan, CategoryPlan)]
        scaled = [plan for plan in times if plan.of_sort(one_hot=False)]
        cyclic = [plan for plan in times if plan.of_sort(one_hot=True)]
        ordinal = [plan for plan in categories if plan.encode == "ordinal"]
        one_hot = [plan for plan in categories if plan.encode == "one_hot"]
        plain = [plan for plan in numbers if not trades_places(plan)]
        trading = [plan for plan in numbers if trades_places(plan)]
        explicit = [plan for plan in plain if plan.indicator]
        buckets: dict[Any, list[Any]] = {}
        for time in scaled:
            buckets.setdefault(("times", _parts(time, one_hot=False)), []).append(time)
        for category in ordinal:
            buckets.setdefault(("ordinal", category.missing), []).append(category)
        for number in (*plain, *trading):
            constant = number.fill if number.impute == "constant" else None
            key = (number.impute, constant, number.low is None, number.scale, trades_places(number))
            buckets.setdefault(("numbers", key), []).append(number)
        # Indicators stand in the order of their numbers: rows of CSR are put in order by it.
        grouped = [plan for (sort, _), members in buckets.items() if sort == "numbers" for plan in members]
        trading = [plan for plan in grouped if trades_places(plan)]
        if trading or explicit:
            buckets["missing", None] = [*trading, *explicit]
        for category in one_hot:
            buckets.setdefault(("one_hot", (category.numbers, category.missing)), []).append(category)
        for time in cyclic:
            buckets.setdefault(("time_cycles", _parts(time, one_hot=True)), []).append(time)
        groups: list[Group] = []
        start = 0
        for (sort, _), members in buckets.items():
            names = tuple(name for plan in members for name in _names(plan, sort))
            count = sum(group.sort == sort for group in groups) + 1
            groups.append(
                Group(sort if count == 1 else f"{sort}_{count}", sort, tuple(members), start, names)
            )
            start += len(names)
        single = len(numbers) + len(explicit) + len(categories)
        stored = single + sum(len(plan.parts) for plan in times)
        recipes = tuple(plan for plan in plans if isinstance(plan, RecipePlan))
        width = start + sum(len(plan.names) for plan in recipes)
        some = bool(one_hot or cyclic or any(plan.sparse for plan in recipes))
        sparse = some and stored + sum(plan.stored for plan in recipes) < SPARSE_BELOW * width
        return cls(tuple(groups), sparse, stored, recipes)

    @property
    def regular_width(self) -> int:
        """Number of features before those of recipes."""
        return sum(len(group.names) for group in self.groups)

    @property
    def width(self) -> int:
        """Number of features."""
        return self.regular_width + sum(len(plan.names) for plan in self.recipes)

    @property
    def steps(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Name of each step of the `ColumnTransformer`, and the names of its features."""
        made = [(f"recipe_{number}", plan.names) for number, plan in enumerate(self.recipes, 1)]
        return (*((group.name, group.names) for group in self.groups), *made)

    @property
    def prefixed(self) -> bool:
        """Whether features are called ``GROUP__FEATURE``: only when two would else have the same name."""
        names = [name for _, made in self.steps for name in made]
        return len(set(names)) < len(names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, as `ColumnTransformer.get_feature_names_out` gives them."""
        prefixed = self.prefixed
        return tuple(f"{step}__{name}" if prefixed else name for step, made in self.steps for name in made)

    @property
    def codes(self) -> tuple[int, ...]:
        """Places of the features that are ordinal codes of categories."""
        ordinal = [group for group in self.groups if group.sort == "ordinal"]
        return tuple(group.start + i for group in ordinal for i in range(len(group.names)))

    def features_of(self, column: str) -> tuple[int, ...]:
        """Places of the features that are made of one column and of no other."""
        return tuple(self._places.get(column, ()))

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for group in self.groups:
            place = group.start
            for plan in group.plans:
                count = len(_names(plan, group.sort))
                found.setdefault(plan.name, []).extend(range(place, place + count))
                place += count
        place = self.regular_width
        for recipe in self.recipes:
            if len(recipe.columns) == 1:
                found.setdefault(recipe.columns[0], []).extend(range(place, place + len(recipe.names)))
            place += len(recipe.names)
        return found


def trades_places(plan: NumericPlan) -> bool:
    """Tell whether a row stores either this number or its indicator: a missing value ends as exactly 0."""
    return plan.indicator and plan.fills_with_zero


def _parts(plan: DatetimePlan, *, one_hot: bool) -> tuple[str, ...]:
    return tuple(part.part for part in plan.of_sort(one_hot=one_hot))


def _names(plan: Any, sort: str) -> list[str]:
    if sort in {"ordinal", "numbers"}:
        return [plan.name]
    if sort == "missing":
        return [f"missingindicator_{plan.name}"]
    if sort == "one_hot":
        return [f"{plan.name}_{label}" for label in plan.labels]
    if sort == "times":
        return [f"{plan.name}_{part.part}" for part in plan.of_sort(one_hot=False)]
    return [
        f"{plan.name}_{part.part}_{float(part.first + i)}"
        for part in plan.of_sort(one_hot=True)
        for i in range(part.values)
    ]
