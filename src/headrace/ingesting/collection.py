"""One ingest from top to bottom: list units, look, read what is new strictly, judge, publish."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace import __version__
from headrace.data.storage import exists, join, read_json
from headrace.errors import HeadraceError, RunError
from headrace.ingesting.credentials import Secrets
from headrace.ingesting.options import BundledSource, FilesSource, HtmlSource, IngestFile, RestSource
from headrace.ingesting.publishing import BAD, FORMAT, PROVENANCE, Version, publish, read_version
from headrace.ingesting.sources import StartOver, Work, digest
from headrace.ingesting.staging import open_staging
from headrace.optionfile import read_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.ingesting.columns import Layout
    from headrace.ingesting.sources import Source, Unit
    from headrace.ingesting.staging import StagedUnit, Staging

QUIET_SECONDS = 5.0
"""Shortest time between two lines about one unit."""


@dataclass(frozen=True)
class Collected:
    """What an ingest did."""

    to: str
    """The dataset."""
    rows: int
    """Rows in the dataset."""
    bad: int
    """Rows in quarantine, of all that is published."""
    new_rows: int
    """Rows that this ingest added."""
    new_bad: int
    """Rows that this ingest put into quarantine."""
    units: int
    """Files, ranges or pages that this ingest read or took over from a killed one."""
    columns: dict[str, str]
    """Names and types."""
    notes: tuple[str, ...]
    """What was noticed when types were found."""
    seconds: float
    """Wall time."""
    provenance: str
    """Where the provenance is."""
    quarantine: str | None
    """Where the bad rows are."""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return asdict(self)


def ingest(path: str, say: Callable[[str], None] = lambda _: None) -> Collected:
    """Bring the data that an ingest file describes into a Parquet dataset.

    What was published before with the same file is kept, and only what is new is read. Nothing is published when the ingest
    fails; a killed one goes on from the units that it has read.

    Parameters
    ----------
    path : str
        The ingest file.
    say : callable, optional
        Takes lines that tell the progress.

    Raises
    ------
    WorkflowError
        The ingest file is wrong, or a variable of the environment is missing.
    DataError
        The source is not what the file says.
    StorageError
        The source cannot be reached, or the destination not written.
    RunError
        Too many rows do not parse, or another process ingests to the same place.
    """
    file = read_options(path, IngestFile)
    secrets = Secrets()
    try:
        return _ingest(file, secrets, lambda line: say(secrets.hide(line)))
    except HeadraceError as error:
        raise type(error)(
            secrets.hide(error.what), where=secrets.hide(error.where), mend=secrets.hide(error.mend)
        ) from None


def _ingest(file: IngestFile, secrets: Secrets, say: Callable[[str], None]) -> Collected:
    started = time.monotonic()
    spec = digest([FORMAT, file.model_dump(mode="json", exclude={"to", "max_bad_rows", "notes"})])
    with open_staging(file.to) as staging:
        published = read_version(file.to, staging)
        before = published if published is not None and published.spec == spec else None
        staging.begin(digest([spec, [unit.key for unit in published.units] if published else None]))
        watermark = before.watermark if before else None
        source = open_source(file, Work(file, secrets, staging.spool, watermark, say))
        units = source.units()
        known = {unit.key: unit for unit in before.units} if before else {}
        fresh = [unit for unit in units if unit.key not in known]
        layout = before.layout if before else staging.layout()
        if layout is None:
            layout = source.look(units)
            for note in layout.notes:
                say(f"note: {note}")
        staging.keep_layout(layout)
        first = len(known)
        read = [_read(unit, at, source, layout, file, staging, say) for at, unit in enumerate(fresh, first)]
        _judge(read, file, staging)
        version = Version(
            spec, layout, _together(before, units, read, whole=source.whole), source.watermark()
        )
        unchanged = (
            before is not None and version.units == before.units and version.watermark == before.watermark
        )
        if not unchanged:
            publish(file.to, before, version, staging, _provenance(file, secrets, version, read))
        staging.clear()
    return Collected(
        file.to,
        version.rows,
        version.bad,
        sum(unit.rows for unit in read),
        sum(unit.bad for unit in read),
        len(read),
        {field.name: str(field.type) for field in layout.schema},
        layout.notes,
        round(time.monotonic() - started, 3),
        join(file.to, PROVENANCE),
        join(file.to, BAD) if version.bad else None,
    )


def open_source(file: IngestFile, work: Work) -> Source:
    """Open what an ingest file names."""
    source = file.source
    if isinstance(source, FilesSource):
        from headrace.ingesting.files import Files

        return Files(source, work)
    if isinstance(source, RestSource):
        from headrace.ingesting.rest import RestPages

        return RestPages(source, work)
    if isinstance(source, HtmlSource):
        from headrace.ingesting.html import HtmlTables

        return HtmlTables(source, work)
    if isinstance(source, BundledSource):
        from headrace.ingesting.bundled import BundledData

        return BundledData(source, work)
    from headrace.ingesting.sql import SqlRows

    return SqlRows(source, work)


def _read(
    unit: Unit,
    place: int,
    source: Source,
    layout: Layout,
    file: IngestFile,
    staging: Staging,
    say: Callable[[str], None],
) -> StagedUnit:
    """Read a unit, unless a killed ingest already has."""
    staged = staging.unit(unit.key)
    if staged is not None:
        say(f"{unit.label}: {staged.rows:,} rows were read before")
        return staged
    last = time.monotonic()

    def progress(rows: int, bad: int) -> None:
        nonlocal last
        if time.monotonic() - last >= QUIET_SECONDS:
            last = time.monotonic()
            say(f"{unit.label}: {rows:,} rows" + (f", {bad:,} bad" if bad else ""))

    facts: dict[str, Any] = {}
    try:
        staged = staging.read(
            unit, place, source.read(unit, layout, facts), layout, file.write, facts, progress
        )
    except StartOver:
        say(f"{unit.label}: values of different types; read one by one")
        facts = {"exact": True}
        staged = staging.read(
            unit, place, source.read(unit, layout, facts), layout, file.write, facts, progress
        )
    say(f"{unit.label}: {staged.rows:,} rows" + (f", {staged.bad:,} bad" if staged.bad else ""))
    return staged


def _judge(read: Sequence[StagedUnit], file: IngestFile, staging: Staging) -> None:
    bad = sum(unit.bad for unit in read)
    rows = bad + sum(unit.rows for unit in read)
    if bad and bad / rows > file.max_bad_rows:
        staging.forget_spool()
        worst = max(read, key=lambda unit: unit.bad)
        raise RunError(
            f"{bad:,} of {rows:,} rows do not parse, {bad / rows:.2%}, and max_bad_rows is {file.max_bad_rows:.2%}; "
            "nothing was published",
            where=file.to,
            mend=f"see {staging.unit_folder(worst.key)}/quarantine.parquet, then declare columns or raise max_bad_rows",
        )


def _together(
    before: Version | None, units: Sequence[Unit], read: Sequence[StagedUnit], *, whole: bool
) -> tuple[StagedUnit, ...]:
    """Keep what is not replaced, in its order, then add what is new.

    A unit of the same name replaces the one before; where a source lists all there is, what it lists no longer goes too.
    """
    if before is None:
        return tuple(read)
    replaced = {unit.name for unit in read}
    listed = {unit.key for unit in units}
    kept = [unit for unit in before.units if unit.name not in replaced and (not whole or unit.key in listed)]
    return (*kept, *read)


def _provenance(
    file: IngestFile, secrets: Secrets, version: Version, read: Sequence[StagedUnit]
) -> dict[str, Any]:
    """Say where the data come from; what earlier ingests said stays."""
    url = join(file.to, PROVENANCE)
    history = read_json(url)["ingests"] if exists(url) else []
    now = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": sum(unit.rows for unit in read),
        "bad_rows": sum(unit.bad for unit in read),
        "units": [unit.label for unit in read],
    }
    document = {
        "source": file.source.model_dump(mode="json", exclude_defaults=True),
        "notes": file.notes.model_dump(mode="json"),
        "rows": version.rows,
        "bad_rows": version.bad,
        "columns": version.layout.to_dict()["columns"],
        "first_look": list(version.layout.notes),
        "watermark": version.watermark,
        "headrace": __version__,
        "ingests": [*history, now],
        "units": [
            {
                "source": unit.label,
                "rows": unit.rows,
                "bad_rows": unit.bad,
                "seconds": unit.seconds,
                **unit.facts,
                "files": unit.files,
            }
            for unit in version.units
        ],
    }
    hidden: dict[str, Any] = json.loads(secrets.hide(json.dumps(document, ensure_ascii=False)))
    return hidden
