"""Six dimensions of quality, each scored from the profile, the checks and the provenance, with its reasons (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.profiling.outcomes import percent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from headrace.profiling.outcomes import Check
    from headrace.profiling.profile import Profile

MOST_REASONS = 6
"""Reasons that are told of one dimension, the heaviest ones."""
HALF = {"pass": 1.0, "warn": 0.5, "fail": 0.0}
"""What a check counts that tells no share of rows."""
KNOWN = {
    "source": ("source", "sources", "url", "from"),
    "time of collection": ("time", "collected", "retrieved", "ingested", "ended", "started", "created"),
    "query or method": ("query", "method", "spec", "request", "kind", "how"),
    "counts": ("counts", "rows", "rows_written"),
    "hashes": ("hashes", "sha256", "files", "digest", "output"),
    "licence": ("licence", "license"),
    "consent": ("consent",),
}
"""What a provenance should tell, and under which keys."""


@dataclass(frozen=True)
class Dimension:
    """One side of the quality of a dataset."""

    name: str
    """``accuracy``, ``completeness``, ``consistency``, ``relevance``, ``timeliness`` or ``collection``."""
    score: int | None
    """0 to 100; None when nothing is known from which to judge."""
    reasons: tuple[str, ...]
    """What the score is made of, the heaviest first."""


@dataclass(frozen=True)
class _Judgement:
    """One thing that was looked at: which share of it is well, and what to say of it."""

    well: float
    reason: str = ""


def score_dimensions(
    profile: Profile,
    checks: Iterable[Check],
    *,
    ignore: Collection[str] = (),
    provenance: Mapping[str, Any] | None = None,
) -> tuple[Dimension, ...]:
    """Score a dataset.

    Parameters
    ----------
    profile : Profile
        Of all the data.
    checks : iterable of Check
        What was checked of it.
    ignore : collection of str
        Columns that are no features: not asked whether they tell anything.
    provenance : mapping, optional
        The document ``provenance.json`` of the dataset.

    Returns
    -------
    tuple of Dimension
        In the order accuracy, completeness, consistency, relevance, timeliness, collection.

    Notes
    -----
    A score is 100 times the mean of what was looked at, each thing as the share of it that is well: of a column the rows
    with a (finite) value, of a rule, range, key or reference the rows that keep it; of a check without a share 1 when it
    passed, 1/2 when it warned, 0 when it failed; of a provenance the share of what it should tell. It is rounded down, so
    that 100 says that nothing was found.
    """
    checks = list(checks)
    sides = {
        "accuracy": [
            *_finite(profile),
            *_checked(checks, {"range", "values", "new values", "type", "drift", "column"}),
        ],
        "completeness": [*_complete(profile)],
        "consistency": [*_checked(checks, {"rule", "reference", "unique", "duplicates", "copy"})],
        "relevance": [
            *_telling(profile, checks, ignore),
            *_checked(checks, {"balance", "target"}),
        ],
        "timeliness": [*_checked(checks, {"freshness", "time"})],
        "collection": [*_collected(provenance)],
    }
    fresh = any(check.name == "freshness" for check in checks)
    notes = {
        "accuracy": ""
        if any(check.name in {"range", "values"} for check in checks)
        else "no range or values are declared (checks.expect), so only infinite values are known to be wrong",
        "consistency": ""
        if any(check.name in {"rule", "reference"} for check in checks)
        else "no rules between columns are declared (checks.rules)",
        "timeliness": ""
        if fresh
        else "no age is declared (data.time and checks.freshness), so age is not judged",
    }
    unknown = {"timeliness"} if not fresh else set()
    return tuple(
        _scored(name, found, notes.get(name, ""), known=name not in unknown) for name, found in sides.items()
    )


def _scored(name: str, found: list[_Judgement], note: str, *, known: bool) -> Dimension:
    reasons = [each.reason for each in sorted(found, key=lambda each: each.well) if each.reason]
    if len(reasons) > MOST_REASONS:
        reasons = [*reasons[:MOST_REASONS], f"and {len(reasons) - MOST_REASONS} more"]
    reasons += [note] if note else []
    if not found or not known:
        return Dimension(name, None, tuple(reasons))
    score = int(100 * sum(each.well for each in found) / len(found) + 1e-9)
    return Dimension(name, score, tuple(reasons) or ("nothing wrong was found",))


def _complete(profile: Profile) -> Iterator[_Judgement]:
    for name, column in profile.columns.items():
        missing, rows = column.overall.missing, column.overall.rows
        if rows:
            reason = f"{name}: {percent(missing / rows)} missing" if missing else ""
            yield _Judgement(1 - missing / rows, reason)


def _finite(profile: Profile) -> Iterator[_Judgement]:
    for name, column in profile.columns.items():
        summary = column.overall
        infinite = summary.pos_infs + summary.neg_infs
        if column.kind == "numeric" and summary.valid:
            reason = f"{name}: {infinite:,} infinite values" if infinite else ""
            yield _Judgement(1 - infinite / summary.valid, reason)


def _checked(checks: list[Check], names: set[str]) -> Iterator[_Judgement]:
    for check in checks:
        if check.name not in names:
            continue
        well = _share_well(check)
        told = f"{check.column}: {check.figure}" if check.column else check.figure
        yield _Judgement(well, told if well < 1 or check.status != "pass" else "")


def _share_well(check: Check) -> float:
    facts = check.facts
    if facts.get("share") is not None:
        return float(facts["share"])
    if "extra" in facts:
        return 1 - facts["extra"] / facts["rows"] if facts["rows"] else 1.0
    return HALF[check.status]


def _telling(profile: Profile, checks: list[Check], ignore: Collection[str]) -> Iterator[_Judgement]:
    """Judge whether each column that may be a feature tells something that is not the answer."""
    looked_for = {"constant", "all-null", "identifier", "leakage"}
    odd = {check.column: check for check in checks if check.name in looked_for and check.status != "pass"}
    for name in profile.columns:
        if name in ignore or name == profile.target:
            continue
        check = odd.get(name)
        if check is None:
            yield _Judgement(1.0)
        else:
            leaks = check.name == "leakage" and check.status == "warn"
            yield _Judgement(0.5 if leaks else 0.0, f"{name}: {check.name}, {check.figure}")


def _collected(provenance: Mapping[str, Any] | None) -> Iterator[_Judgement]:
    if provenance is None:
        yield _Judgement(0.0, "no provenance.json: how the data were collected is not written down")
        return
    told = dict(_flat(provenance))
    for what, keys in KNOWN.items():
        value = next((told[key] for key in keys if told.get(key) not in (None, "", [], {})), None)
        if value is None:
            yield _Judgement(0.0, f"the provenance does not tell: {what}")
        else:
            shown = f": {value}" if isinstance(value, str | int | float) and len(str(value)) <= 80 else ""
            yield _Judgement(1.0, f"{what} is told{shown}")


def _flat(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give keys and values of a document; those further out win."""
    for value in document.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                yield from _flat(part)
    yield from document.items()
