"""What one pass over a dataset finds: a profile of each part, and what finders look for beside it."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self

from headrace.accumulators import merge_tree
from headrace.engine.commits import Form
from headrace.engine.folds import REPEATED
from headrace.profiling.profile import Profile, merge_profiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from headrace.data.dataset import Chunk


class Finding(Protocol):
    """What a finder has found: the state of an accumulator, that of no rows included."""

    def merge(self, other: Self) -> Self:
        """Return what was found in both; neither operand changes, and neither depends on how rows were split."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document that `from_state` reads back without loss."""
        ...

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        ...


class Finder(Protocol):
    """Looks for something in every chunk of a profile's pass; frozen, and sent to the workers by pickle.

    A finder that tells the parts of a split apart holds the run's `Splitter` and asks it for the parts of the rows.
    """

    @property
    def name(self) -> str:
        """The name of its finding, one finder's alone."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it looks at; the pass must read them."""
        ...

    @property
    def finding(self) -> type[Finding]:
        """The class of what it finds, to read a committed state back."""
        ...

    def find(self, table: pa.Table, chunk: Chunk) -> Finding:
        """Look at one chunk; a column of text may come dictionary-encoded."""
        ...


@dataclass(frozen=True)
class Survey:
    """What one pass found."""

    profiles: dict[str, Profile]
    """By part; all rows are in the part ``all`` when there is no split."""
    findings: dict[str, Finding] = field(default_factory=dict)
    """By the name of the finder."""

    @property
    def whole(self) -> Profile:
        """The profile of all parts together."""
        parts = [part for part in self.profiles if not part.startswith(REPEATED)]
        return merge_tree([self.profiles[part] for part in parts], Profile.merge)

    def merge(self, other: Self) -> Self:
        """Return what was found in both."""
        findings = {name: mine.merge(other.findings[name]) for name, mine in self.findings.items()}
        return replace(self, profiles=merge_profiles(self.profiles, other.profiles), findings=findings)


def look(table: pa.Table, chunk: Chunk, finders: Sequence[Finder]) -> dict[str, Finding]:
    """Let every finder look at one chunk."""
    return {finder.name: finder.find(table, chunk) for finder in finders}


def survey_form(finders: Sequence[Finder]) -> Form:
    """Say how surveys are committed to the ledger."""
    classes = {finder.name: finder.finding for finder in finders}
    return Form(dump_survey, partial(load_survey, classes=classes))


def dump_survey(survey: Survey) -> list[bytes]:
    """Write a survey as it is, its profiles not compacted, as compressed JSON."""
    profiles: dict[str, Any] = {}
    for part, profile in survey.profiles.items():
        columns = {
            name: {
                "type": column.type,
                "kind": column.kind,
                "by_class": {key: held.state() for key, held in column.by_class.items()},
            }
            for name, column in profile.columns.items()
        }
        # What Profile.to_dict adds for readers takes longer than all else.
        bare = replace(profile, columns={})
        profiles[part] = {**bare.to_dict(), "columns": columns}
    findings = {name: finding.state() for name, finding in survey.findings.items()}
    document = {"profiles": profiles, "findings": findings}
    return [zlib.compress(json.dumps(document, allow_nan=False, separators=(",", ":")).encode(), 1)]


def load_survey(pieces: list[bytes], *, classes: Mapping[str, type[Finding]]) -> Survey:
    """Rebuild from `dump_survey`.

    Parameters
    ----------
    pieces : list of bytes
        One.
    classes : mapping of str to type
        What each finder finds.
    """
    (piece,) = pieces
    document = json.loads(zlib.decompress(piece))
    return Survey(
        {part: Profile.from_dict(held) for part, held in document["profiles"].items()},
        {name: finding.from_state(document["findings"][name]) for name, finding in classes.items()},
    )
