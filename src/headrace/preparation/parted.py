"""What was found beside a profile, by the sets of rows that a split tells apart; merged for those that are learnt from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from headrace.accumulators import merge_tree
from headrace.accumulators.gram import Gram
from headrace.accumulators.grouped import GroupedSums
from headrace.accumulators.rowsample import RowSample
from headrace.profiling.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SampledRows:
    """A bounded uniform sample of rows, its columns by name.

    Attributes
    ----------
    names : tuple of str
        The columns.
    sample : RowSample
        Their values, as `headrace.profiling.explorers.SampleFinder` writes them.
    classes : bool
        Whether the target among them stands for classes.
    """

    names: tuple[str, ...]
    sample: RowSample
    classes: bool = False

    def merge(self, other: Self) -> Self:
        """Return the sample of both sets of rows."""
        return replace(self, sample=self.sample.merge(other.sample))

    def values(self, names: Sequence[str], most: int) -> NDArray[np.float64]:
        """Return some columns of the first rows, shape (at most `most`, columns): a sample as well, in an order of chance."""
        return self.sample.values[:most, [self.names.index(name) for name in names]]

    def state(self) -> dict[str, Any]:
        """Everything held, as finite JSON."""
        return {"names": list(self.names), "sample": self.sample.state(), "classes": self.classes}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        return cls(tuple(state["names"]), RowSample.from_state(state["sample"]), state["classes"])


T = TypeVar("T", Gram, GroupedSums, Profile, SampledRows)


@dataclass(frozen=True)
class Parted(Generic[T]):
    """The same accumulator for each set of rows that a split tells apart.

    Attributes
    ----------
    parts : dict of str to accumulator
        By the names of `Splitter.groupings`.
    """

    of: ClassVar[type[Any]]
    parts: dict[str, T]

    def merge(self, other: Self) -> Self:
        """Return what was found in both."""
        mine = self.parts
        return type(self)({name: part.merge(other.parts[name]) for name, part in mine.items()})

    def state(self) -> dict[str, Any]:
        """Everything held, as finite JSON."""
        return {name: self.written(part) for name, part in self.parts.items()}

    @staticmethod
    def written(part: Any) -> dict[str, Any]:
        """Return one part as finite JSON."""
        state: dict[str, Any] = part.state()
        return state

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        return cls({name: cls.read(part) for name, part in state.items()})

    @classmethod
    def read(cls, state: dict[str, Any]) -> Any:
        """Rebuild one part."""
        return cls.of.from_state(state)

    def of_rows(self, names: Sequence[str]) -> T:
        """Return what was found in all of these sets of rows."""
        return merge_tree([self.parts[name] for name in names], type(self.parts[names[0]]).merge)


class PartedGram(Parted[Gram]):
    """Cross products by part."""

    of: ClassVar[type[Any]] = Gram


class PartedSums(Parted[GroupedSums]):
    """Sums by value and part."""

    of: ClassVar[type[Any]] = GroupedSums


class PartedSample(Parted[SampledRows]):
    """Sampled rows by part."""

    of: ClassVar[type[Any]] = SampledRows


class PartedProfile(Parted[Profile]):
    """Profiles of derived columns by part."""

    of: ClassVar[type[Any]] = Profile

    @staticmethod
    def written(part: Any) -> dict[str, Any]:
        """Return one part as finite JSON."""
        document: dict[str, Any] = part.to_dict()
        return document

    @classmethod
    def read(cls, state: dict[str, Any]) -> Any:
        """Rebuild one part."""
        return Profile.from_dict(state)


def found_in(findings: Mapping[str, Any], names: Sequence[str] = ("train",)) -> dict[str, Any]:
    """Return what a preparation needs of what a survey found, over the rows that it is learnt from.

    Parameters
    ----------
    findings : mapping of str
        By the name of the finder.
    names : sequence of str
        Sets of rows: ``train``, or the cells from which a fold learns.
    """
    return {key: held.of_rows(names) for key, held in findings.items() if hasattr(held, "of_rows")}
