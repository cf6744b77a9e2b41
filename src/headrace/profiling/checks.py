"""Expectations over a profile: pass, warn or fail, with the figure (pure)."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from headrace.profiling.declared import check_expectations, check_freshness
from headrace.profiling.difference import check_difference
from headrace.profiling.expectations import CheckOptions, expectations_from
from headrace.profiling.outcomes import RANK, Check, Status
from headrace.profiling.quality import check_quality, check_target, check_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from headrace.profiling.profile import Profile


@dataclass(frozen=True)
class CheckReport:
    """The outcomes of all checks, the worst ones first."""

    checks: tuple[Check, ...]

    @classmethod
    def of(cls, checks: Iterable[Check]) -> CheckReport:
        """Order `checks` from failures to passes, otherwise as they come."""
        return cls(tuple(sorted(checks, key=lambda check: -RANK[check.status])))

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
        """Return the document ``checks.json``."""
        return {"status": self.status, "checks": [asdict(check) for check in self.checks]}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> CheckReport:
        """Read `to_dict` back."""
        return cls(tuple(Check(**check) for check in document["checks"]))

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
        return f"<p>{escape(self.summary())}</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def check_profile(
    profile: Profile,
    options: CheckOptions | None = None,
    *,
    target: str | None = None,
    task: str | None = None,
    time: str | None = None,
    ignore: Iterable[str] = (),
    now: datetime | None = None,
) -> CheckReport:
    """Check what a profile tells, without reading the data again.

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
    """
    options = options or CheckOptions()
    target = target if target is not None else profile.target
    checks = [*check_expectations(profile, options.expect)]
    if target is not None:
        checks += check_target(profile, target, task)
    if time is not None:
        checks += check_time(profile, time)
        if options.freshness is not None and time in profile.columns:
            checks.append(
                check_freshness(profile.columns[time], options.freshness, now or datetime.now(tz=UTC))
            )
    checks += check_quality(profile, target, task, ignore=frozenset(ignore) | {time or ""})
    return CheckReport.of(checks)


def check_against(profile: Profile, reference: Profile, *, target: str | None = None) -> CheckReport:
    """Check a profile against one seen before: quality, range, values, missing share and distribution.

    Parameters
    ----------
    profile : Profile
        Of the data in hand.
    reference : Profile
        Of the data that the model, or the reader, knows.
    target : str, optional
        The column to predict, which the data in hand may lack.
    """
    target = target if target is not None else reference.target
    expect = expectations_from(reference, rows=profile.rows)
    checks = [*check_expectations(profile, expect), *check_difference(profile, reference)]
    known = target if target in profile.columns else None
    return CheckReport.of([*checks, *check_quality(profile, known, ignore=frozenset())])
