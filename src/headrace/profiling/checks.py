"""Expectations over a profile: pass, warn or fail, with the figure (pure)."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from headrace.profiling.declared import check_expectations, check_freshness
from headrace.profiling.difference import check_difference
from headrace.profiling.dimensions import Dimension, score_dimensions
from headrace.profiling.expectations import CheckOptions, expectations_from
from headrace.profiling.findings import check_findings
from headrace.profiling.outcomes import RANK, Check, Status
from headrace.profiling.quality import check_quality, check_target, check_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from headrace.profiling.profile import Profile
    from headrace.profiling.survey import Finding


@dataclass(frozen=True)
class CheckReport:
    """The outcomes of all checks, the worst ones first."""

    checks: tuple[Check, ...]
    dimensions: tuple[Dimension, ...] = ()
    """Six scores with their reasons."""

    @classmethod
    def of(cls, checks: Iterable[Check], dimensions: Iterable[Dimension] = ()) -> CheckReport:
        """Order `checks` from failures to passes, otherwise as they come."""
        return cls(tuple(sorted(checks, key=lambda check: -RANK[check.status])), tuple(dimensions))

    @property
    def status(self) -> Status:
        """The worst status of all."""
        return max((check.status for check in self.checks), key=RANK.__getitem__, default="pass")

    @property
    def counts(self) -> dict[Status, int]:
        """How many checks have each status."""
        counter = Counter(check.status for check in self.checks)
        return {status: counter[status] for status in RANK}

    def having(self, status: Status) -> Iterator[Check]:
        """Give the checks with one status."""
        return (check for check in self.checks if check.status == status)

    def summary(self) -> str:
        """Return one line: the counts, and the failures by name."""
        counts = self.counts
        text = f"{counts['fail']} failed, {counts['warn']} warned, {counts['pass']} passed"
        failures = [f"{check.column or 'data'}: {check.name} {check.figure}" for check in self.having("fail")]
        return (
            f"{text} ({'; '.join(failures[:5])}{', ...' if len(failures) > 5 else ''})" if failures else text
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the document ``checks.json``.

        Keys: ``status``, the worst of all; ``checks``, each with the attributes of `Check`; ``dimensions``, each with
        ``name``, ``score`` (0 to 100, or null) and ``reasons``.
        """
        return {
            "status": self.status,
            "checks": [asdict(check) for check in self.checks],
            "dimensions": [asdict(each) | {"reasons": list(each.reasons)} for each in self.dimensions],
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> CheckReport:
        """Read `to_dict` back."""
        dimensions = [
            Dimension(each["name"], each["score"], tuple(each["reasons"]))
            for each in document.get("dimensions", ())
        ]
        return cls(tuple(Check(**check) for check in document["checks"]), tuple(dimensions))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("", "check", "column", "figure", "", "detail"))
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td>{escape(cell)}</td>"
                for cell in (
                    check.status,
                    check.name,
                    check.column,
                    check.figure,
                    "exact" if check.exact else "approximate",
                    check.detail,
                )
            )
            + "</tr>"
            for check in self.checks
        )
        scores = ", ".join(
            f"{each.name} {'not known' if each.score is None else each.score}" for each in self.dimensions
        )
        return f"<p>{escape(self.summary())}</p><p>{escape(scores)}</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def check_profile(
    profile: Profile,
    options: CheckOptions | None = None,
    *,
    target: str | None = None,
    task: str | None = None,
    time: str | None = None,
    ignore: Iterable[str] = (),
    now: datetime | None = None,
    findings: Mapping[str, Finding] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> CheckReport:
    """Check what a profile tells, and what was found in its pass, without reading the data again.

    Parameters
    ----------
    profile : Profile
        Of all the data, by class when there are classes.
    options : CheckOptions, optional
        Declared expectations; what they say fails, what is inferred warns.
    target : str, optional
        The column to predict; the profile's own when left out.
    task : str, optional
        ``classification`` or ``regression``; guessed from the profile when left out.
    time : str, optional
        The time column, for freshness.
    ignore : iterable of str, optional
        Columns that are not used as features: not looked at for leakage, identifiers and the like.
    now : datetime, optional
        The moment from which age is counted; the clock's when left out.
    findings : mapping of str to Finding, optional
        What the finders of `headrace.profiling.findings.check_finders` found.
    provenance : mapping, optional
        The document ``provenance.json`` of the dataset.
    """
    options = options or CheckOptions()
    target = target if target is not None else profile.target
    found = [*check_findings(findings or {}, options, list(profile.columns))]
    counted = {check.column for check in found if check.name == "unique"}
    expected = check_expectations(profile, options.expect)
    checks = [check for check in expected if check.name != "unique" or check.column not in counted]
    checks += found
    if target is not None:
        checks += check_target(profile, target, task)
    if time is not None:
        checks += check_time(profile, time)
        if options.freshness is not None and time in profile.columns:
            checks.append(
                check_freshness(profile.columns[time], options.freshness, now or datetime.now(tz=UTC))
            )
    aside = frozenset(ignore) | {time or ""}
    checks += check_quality(profile, target, task, ignore=aside)
    return CheckReport.of(checks, score_dimensions(profile, checks, ignore=aside, provenance=provenance))


def check_against(
    profile: Profile,
    reference: Profile,
    *,
    target: str | None = None,
    findings: Mapping[str, Finding] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> CheckReport:
    """Check a profile against one seen before: quality, range, values, missing share and distribution.

    Parameters
    ----------
    profile : Profile
        Of the data in hand.
    reference : Profile
        Of the data that the model, or the reader, knows.
    target : str, optional
        The column to predict, which the data in hand may lack.
    findings, provenance
        As in `check_profile`.
    """
    target = target if target is not None else reference.target
    expect = expectations_from(reference, rows=profile.rows)
    checks = [*check_expectations(profile, expect), *check_difference(profile, reference)]
    known = target if target in profile.columns else None
    checks += check_findings(findings or {}, CheckOptions(), list(profile.columns))
    checks += check_quality(profile, known, ignore=frozenset())
    return CheckReport.of(checks, score_dimensions(profile, checks, provenance=provenance))
