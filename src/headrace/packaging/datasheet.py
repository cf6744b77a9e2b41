"""The data sheet: one Markdown page about a dataset, measured facts beside what people answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from headrace.options import Options
from headrace.packaging.card import flat, template
from headrace.profiling.privacy import personal_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.profiling.profile import ColumnProfile, Profile

SHOWN = 5
"""Frequent values of a column that are named."""


class DatasheetAnswers(Options):
    """What only people can say about a dataset; every question may be left open."""

    purpose: str = Field(default="", description="For what purpose was the dataset made?")
    creators: str = Field(default="", description="Who made it, on behalf of whom?")
    funding: str = Field(default="", description="Who funded it?")
    instances: str = Field(default="", description="What does a row stand for?")
    sampling: str = Field(default="", description="Is it all there is, or a sample, and drawn how?")
    labels: str = Field(default="", description="What do the labels mean, and who gave them?")
    missing: str = Field(default="", description="Why are values missing?")
    errors: str = Field(default="", description="Which errors, noise or redundancies are known?")
    persons: str = Field(default="", description="Does it tell about persons, and may they be found out?")
    sensitive: str = Field(
        default="", description="Which values are sensitive: health, origin, belief, place, money?"
    )
    acquisition: str = Field(default="", description="How was it acquired: measured, reported, inferred?")
    period: str = Field(default="", description="Over which period was it collected?")
    consent: str = Field(
        default="", description="Did the persons know and consent, or what else is the legal basis?"
    )
    withdrawal: str = Field(default="", description="How can a person take the consent back?")
    preprocessing: str = Field(
        default="", description="What was done with it before, and are the raw data kept?"
    )
    used_for: str = Field(default="", description="What has it been used for?")
    not_for: str = Field(default="", description="What should it not be used for?")
    harm: str = Field(
        default="", description="How could its use harm somebody, and what is done against that?"
    )
    distribution: str = Field(default="", description="Who may have it, under which licence or contract?")
    maintainer: str = Field(default="", description="Who maintains it, and how are they reached?")
    updates: str = Field(default="", description="How often is it updated, and how are errors mended?")
    retention: str = Field(default="", description="How long is it kept, and who erases it?")


SECTIONS = {
    "Motivation": ("purpose", "creators", "funding"),
    "Composition": ("instances", "sampling", "labels", "missing", "errors", "persons", "sensitive"),
    "Collection": ("acquisition", "period", "consent", "withdrawal"),
    "Preprocessing": ("preprocessing",),
    "Uses": ("used_for", "not_for", "harm"),
    "Distribution": ("distribution",),
    "Maintenance": ("maintainer", "updates", "retention"),
}


def describe_data(
    profile: Profile,
    answers: DatasheetAnswers,
    *,
    name: str,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Gather what a data sheet says, as a JSON document.

    Parameters
    ----------
    profile : Profile
        Of the data, without values that must not be told; see `headrace.profiling.withholding`.
    answers : DatasheetAnswers
        What people have said.
    name : str
        Of the dataset.
    provenance : mapping, optional
        What `headrace ingest` wrote beside the data.
    """
    questions = {
        section: [
            (key, str(DatasheetAnswers.model_fields[key].description), getattr(answers, key)) for key in keys
        ]
        for section, keys in SECTIONS.items()
    }
    every = [answer for asked in questions.values() for _, _, answer in asked]
    return {
        "name": name,
        "rows": profile.rows,
        "target": profile.target,
        "columns": [_column(column) for column in profile.columns.values()],
        "personal": personal_columns(profile),
        "provenance": flat(dict(provenance or {})),
        "sections": questions,
        "asked": len(every),
        "open": sum(not answer for answer in every),
    }


def render_datasheet(document: Mapping[str, Any]) -> str:
    """Render what `describe_data` gathers as Markdown; text from the data cannot break a table or bring in HTML."""
    return template("datasheet.md.j2").render(**document)


def _column(column: ColumnProfile) -> dict[str, Any]:
    whole = column.overall
    low = high = None
    if whole.moments is not None and whole.moments.n and column.kind in {"numeric", "datetime"}:
        low, high = column.shown(whole.moments.minimum), column.shown(whole.moments.maximum)
    text = column.kind in {"string", "boolean"} and not column.is_text
    return {
        "name": column.name,
        "type": column.type,
        "missing": f"{whole.missing / max(1, whole.rows):.1%}",
        "distinct": None if column.kind == "other" else round(column.distinct),
        "minimum": low,
        "maximum": high,
        "top": ", ".join(str(value) for value, _ in column.top(SHOWN)) if text else None,
    }
