"""The ingest file: where data come from, how they are typed, how they are written."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from headrace.ingesting.columns import KINDS
from headrace.ingesting.moments import pattern_of
from headrace.options import Options

NULLS = ("", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "?")
SECRET_HEADERS = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
NAME = re.compile(r"\$\{[A-Za-z_]\w*\}")


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Strings = Annotated[tuple[str, ...], BeforeValidator(_one_or_many, json_schema_input_type=str | list[str])]


class ColumnOptions(Options):
    """The type of one column and how it is written in the source."""

    type: Literal[tuple(KINDS)] = Field(description="Type of the values")  # type: ignore[valid-type] # one list for both
    formats: Strings = Field(default=(), description="Formats of dates, tried in order, such as %d/%m/%Y")
    decimal: Literal[".", ","] = Field(default=".", description="Decimal sign")
    thousands: Literal["", ",", ".", " ", "'"] = Field(default="", description="Sign between thousands")

    @model_validator(mode="after")
    def _fit_each_other(self) -> ColumnOptions:
        if self.formats and self.type not in {"date", "timestamp"}:
            raise ValueError(f"formats are for dates and timestamps, not for {self.type}; leave them out")
        for text in self.formats:
            pattern_of(text)
        if self.thousands == self.decimal:
            raise ValueError("decimal and thousands are the same sign; change one")
        return self


def _column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


Column = Annotated[ColumnOptions, BeforeValidator(_column, json_schema_input_type=str | ColumnOptions)]


class FilesSource(Options):
    """Files by path, glob or URL: CSV, TSV, JSON and JSON Lines, Excel, Parquet; compressed or zipped."""

    kind: Literal["files"]
    url: Strings = Field(min_length=1, description="Paths, globs or URLs, http(s) and fsspec's")
    format: Literal["csv", "tsv", "json", "jsonl", "excel", "parquet"] | None = Field(
        default=None, description="What the files are; by their names when left out"
    )
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="Between fields; found when left out"
    )
    quote: Literal['"', "'", ""] = Field(default='"', description="Around fields; empty for none")
    encoding: str | None = Field(default=None, description="Such as latin-1; found when left out")
    header: bool = Field(default=True, description="Whether the first row holds names")
    names: tuple[str, ...] = Field(default=(), description="Names of the columns, in place of the header's")
    skip: int = Field(default=0, ge=0, description="Lines before the header")
    member: str = Field(default="*", description="Which files of a zip archive are read, as a glob")
    records: str = Field(default="", description="Where a JSON file holds its list, such as data.items")
    sheet: str | int = Field(default=0, description="Sheet of a workbook, by name or number")


class SqlSource(Options):
    """A table or query of PostgreSQL or SQLite, read in ranges of a key."""

    kind: Literal["sql"]
    uri: str = Field(
        min_length=1, description="postgresql://... or sqlite:///path; credentials as ${VARIABLE}"
    )
    table: str | None = Field(default=None, min_length=1, description="The table, schema.table if need be")
    query: str | None = Field(default=None, min_length=1, description="A SELECT, in place of a table")
    key: str | None = Field(
        default=None, description="Column of whole numbers or times whose ranges are read one by one"
    )
    partitions: int = Field(default=16, ge=1, le=10_000, description="Ranges of the key")
    watermark: str | None = Field(
        default=None, description="Column that grows: later runs read what is above the largest seen"
    )

    @model_validator(mode="after")
    def _say_what(self) -> SqlSource:
        if (self.table is None) == (self.query is None):
            raise ValueError("needs a table or a query, one of them; add it")
        password = re.match(r"\w+://[^/@:]*:([^@]*)@", self.uri)
        if password and not NAME.fullmatch(password[1]):
            raise ValueError("holds a password; put it into the environment and write ${VARIABLE}")
        return self


class Paging(Options):
    """How a page leads to the next."""

    kind: Literal["none", "offset", "cursor", "link"] = Field(default="none", description="The scheme")
    parameter: str = Field(default="offset", description="Query parameter of the offset or cursor")
    limit_parameter: str = Field(default="limit", description="Query parameter of the page size")
    limit: int = Field(default=100, ge=1, description="Records a page")
    cursor: str = Field(
        default="next", description="Where an answer holds the next cursor, such as meta.next"
    )


class WebOptions(Options):
    """How requests are made and made again."""

    headers: dict[str, str] = Field(default={}, description="Headers; secrets as ${VARIABLE}")
    requests_a_second: float = Field(default=10.0, gt=0.0, description="Most requests in a second")
    retries: int = Field(default=5, ge=0, le=20, description="Tries after the first, on 429, 5xx, lost links")
    back_off: float = Field(default=0.5, ge=0.0, description="Seconds before the second try; doubles")
    timeout: float = Field(default=60.0, gt=0.0, description="Seconds to wait for an answer")

    @field_validator("headers")
    @classmethod
    def _hide(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if SECRET_HEADERS.search(name) and not NAME.search(text):
                raise ValueError(
                    f"{name} holds a secret; put it into the environment and write ${{VARIABLE}}"
                )
        return value


class RestSource(WebOptions):
    """A JSON API, page by page."""

    kind: Literal["rest"]
    url: str = Field(pattern=r"^https?://", description="Address of the first page")
    parameters: dict[str, str | int | float] = Field(default={}, description="Query parameters")
    records: str = Field(default="", description="Where an answer holds its records, such as data.items")
    paging: Paging = Field(default=Paging(), description="How a page leads to the next")
    pages: int = Field(default=1_000_000, ge=1, description="Most pages that are fetched")
    watermark: str | None = Field(default=None, description="Field that grows, sent back by later runs")
    since_parameter: str = Field(default="since", description="Query parameter that takes the watermark")


class HtmlSource(WebOptions):
    """Tables in web pages. robots.txt is respected."""

    kind: Literal["html"]
    url: Strings = Field(min_length=1, description="Addresses of the pages")
    table: int | str = Field(default=0, description="Which table: its number in the page, or its id")
    requests_a_second: float = Field(default=1.0, gt=0.0, description="Most requests in a second")


class BundledSource(Options):
    """A dataset that scikit-learn ships."""

    kind: Literal["bundled"]
    name: Literal["iris", "wine", "breast_cancer", "diabetes", "digits", "linnerud"] = Field(
        description="Its name"
    )


Source = Annotated[
    FilesSource | SqlSource | RestSource | HtmlSource | BundledSource, Field(discriminator="kind")
]


class FirstLook(Options):
    """How types are found."""

    rows: int = Field(default=10_000, ge=1, description="Rows that are looked at")
    agreement: float = Field(
        default=0.95,
        gt=0.5,
        le=1.0,
        description="Share of the values that must be of a type for it to be taken",
    )


class WriteOptions(Options):
    """The Parquet files."""

    row_group: int = Field(default=250_000, ge=1, description="Rows of a row group")
    file: int = Field(default=2_500_000, ge=1, description="Most rows of a file")
    compression: Literal["snappy", "zstd", "none"] = Field(default="snappy", description="Codec")
    partition_by: Strings = Field(default=(), description="Columns that become folders, column=value")


class Notes(Options):
    """What only you know, kept in the provenance."""

    licence: str | None = Field(default=None, description="Under which licence the data may be used")
    consent: str | None = Field(default=None, description="To what the persons in the data agreed")
    contact: str | None = Field(default=None, description="Whom to ask")
    about: str | None = Field(default=None, description="What the data are")


class IngestFile(Options):
    """One ingest: a source, its types, and where the Parquet goes."""

    to: str = Field(min_length=1, description="Directory of the Parquet dataset, local or any fsspec URL")
    source: Source = Field(description="Where the data come from")
    columns: dict[str, Column] = Field(default={}, description="Types that are known; others are found")
    drop: Strings = Field(default=(), description="Columns that are left out")
    null_values: tuple[str, ...] = Field(default=NULLS, description="Texts that mean a missing value")
    first_look: FirstLook = Field(default=FirstLook(), description="How types are found")
    max_bad_rows: float = Field(
        default=0.01, ge=0.0, le=1.0, description="Share of rows that may go to quarantine"
    )
    write: WriteOptions = Field(default=WriteOptions(), description="The Parquet files")
    notes: Notes = Field(default=Notes(), description="Licence, consent and the like")
