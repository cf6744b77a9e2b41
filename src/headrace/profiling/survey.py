"""What one pass over a dataset finds: a profile of each part, and what finders look for beside it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self

from headrace.accumulators import merge_tree
from headrace.accumulators.columns import ColumnSummary
from headrace.engine.commits import Form
from headrace.engine.folds import REPEATED
from headrace.profiling.profile import ColumnProfile, Profile, merge_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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


def side_by_side(surveys: Sequence[Survey], names: Sequence[str]) -> Survey:
    """Put surveys of the same rows together that looked at different columns.

    Parameters
    ----------
    surveys : sequence of Survey
        At least one; those after the first need no profiles.
    names : sequence of str
        All columns, in the order that the profiles shall have.
    """
    first = surveys[0]
    profiles = {}
    for part, profile in first.profiles.items():
        columns = {
            name: column
            for survey in surveys
            if survey.profiles
            for name, column in survey.profiles[part].columns.items()
        }
        profiles[part] = replace(profile, columns={name: columns[name] for name in names})
    return Survey(profiles, {name: found for survey in surveys for name, found in survey.findings.items()})


def look(table: pa.Table, chunk: Chunk, finders: Sequence[Finder]) -> dict[str, Finding]:
    """Let every finder look at one chunk."""
    return {finder.name: finder.find(table, chunk) for finder in finders}


def survey_form(finders: Sequence[Finder]) -> Form:
    """Say how surveys are committed to the ledger."""
    classes = {finder.name: finder.finding for finder in finders}
    return Form(dump_survey, partial(load_survey, classes=classes))


def dump_survey(survey: Survey) -> list[bytes]:
    """Write a survey as it is, its profiles not compacted: lines of JSON.

    The first line holds all but the columns; each column of each part follows in a line of its own, so that no more than
    one of them is there as JSON at a time: of thousands of columns it takes many times the memory of what it says.
    """
    return [b"".join(_lines(survey))]


def _lines(survey: Survey) -> Iterator[bytes]:
    # What Profile.to_dict adds for readers takes longer than all else.
    bare = {part: replace(profile, columns={}).to_dict() for part, profile in survey.profiles.items()}
    yield _line(
        {
            "profiles": bare,
            "findings": {name: finding.state() for name, finding in survey.findings.items()},
        }
    )
    for part, profile in survey.profiles.items():
        for name, column in profile.columns.items():
            states = {key: held.state() for key, held in column.by_class.items()}
            yield _line([part, name, column.type, column.kind, states])


def _line(document: Any) -> bytes:
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode() + b"\n"


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
    lines = io.BytesIO(piece)
    head = json.loads(lines.readline())
    columns: dict[str, dict[str, ColumnProfile]] = {part: {} for part in head["profiles"]}
    for line in lines:
        part, name, type_, kind, states = json.loads(line)
        by_class = {key: ColumnSummary.from_state(state) for key, state in states.items()}
        columns[part][name] = ColumnProfile(name, type_, kind, by_class)
    return Survey(
        {
            part: replace(Profile.from_dict(bare), columns=columns[part])
            for part, bare in head["profiles"].items()
        },
        {name: finding.from_state(head["findings"][name]) for name, finding in classes.items()},
    )
