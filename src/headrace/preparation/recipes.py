"""Recipes: a chain of scikit-learn's transformers over one or several columns, with what each has learnt, as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Step:
    """One transformer of a chain.

    Attributes
    ----------
    sort : str
        Which one: a key of `headrace.preparation.steps.BUILDERS`.
    learnt : dict
        Its settings and fitted attributes, as finite JSON.
    words : str
        What it does and with which numbers, for people.
    """

    sort: str
    learnt: dict[str, Any] = field(default_factory=dict)
    words: str = ""


@dataclass(frozen=True)
class RecipePlan:
    """Columns to features by a chain of steps; for everything that the compiled path does not know.

    Attributes
    ----------
    name : str
        Of the chain, unique in a preparation.
    kind : str
        Of its columns.
    columns : tuple of str
        That it reads.
    steps : tuple of Step
        The first one takes the frame of the columns, each further one what the one before gives.
    names : tuple of str
        Of its features.
    stored : int
        Entries of a row that are stored, about.
    sparse : bool
        Whether the chain gives sparse matrices.
    """

    role: ClassVar[str] = "recipe"
    name: str
    kind: str
    columns: tuple[str, ...]
    steps: tuple[Step, ...]
    names: tuple[str, ...]
    stored: int
    sparse: bool = False

    @property
    def learns_by_fold(self) -> bool:
        """Whether training rows are encoded by the statistics of the other folds."""
        return any("folds" in step.learnt for step in self.steps)

    def of_fold(self, fold: int) -> RecipePlan:
        """Return the chain as it is for the training rows of one fold: it knows the targets of the others alone."""
        steps = tuple(
            Step(step.sort, {**step.learnt, **step.learnt["folds"][fold], "folds": []})
            if step.learnt.get("folds")
            else step
            for step in self.steps
        )
        return RecipePlan(
            self.name, self.kind, self.columns, steps, self.names, self.stored, sparse=self.sparse
        )

    def after(self, step: Step, columns: tuple[str, ...], kind: str) -> RecipePlan:
        """Return the chain with a step before it, over other columns."""
        steps = (step, *self.steps)
        return RecipePlan(self.name, kind, columns, steps, self.names, self.stored, sparse=self.sparse)

    @classmethod
    def from_held(cls, held: dict[str, Any]) -> Self:
        """Rebuild from `held`."""
        return cls(
            **{
                **held,
                "columns": tuple(held["columns"]),
                "names": tuple(held["names"]),
                "steps": tuple(Step(**step) for step in held["steps"]),
            }
        )

    def held(self) -> dict[str, Any]:
        """Return everything as JSON."""
        held = {key: getattr(self, key) for key in ("name", "kind", "stored", "sparse")}
        steps = [{"sort": step.sort, "learnt": step.learnt, "words": step.words} for step in self.steps]
        return {**held, "columns": list(self.columns), "steps": steps, "names": list(self.names)}

    def describe(self) -> dict[str, str]:
        """Say in words what is done: keys ``column, kind, steps, parameters``."""
        told = [step for step in self.steps if step.words]
        return {
            "column": ", ".join(self.columns),
            "kind": self.kind,
            "steps": ", ".join(step.sort.replace("_", " ") for step in told),
            "parameters": "; ".join(step.words for step in told),
        }
