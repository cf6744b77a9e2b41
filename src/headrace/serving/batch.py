"""Batch scoring: one pass over a dataset, each chunk's scored rows one Parquet file."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from headrace.data.storage import join, write_bytes
from headrace.engine.commits import Form
from headrace.errors import InputError, PackageError
from headrace.packaging.package import MANIFEST, read_package, sha256
from headrace.profiling.profile import Profile, profile_table
from headrace.profiling.rules import places_of
from headrace.profiling.survey import Survey, dump_survey, load_survey
from headrace.serving.asking import ask, model_of
from headrace.serving.chunks import conformed_chunk
from headrace.serving.guard import Guard
from headrace.serving.options import GuardOptions

if TYPE_CHECKING:
    from headrace.data.dataset import Chunk
    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.packaging.exports.gate import Export
    from headrace.packaging.signature import Signature

SCORING = "score"
PREDICTION, PROBABILITY, MODEL = "prediction", "probability_", "model"
REASONS, FILE, ROW = "reasons", "file", "row"
REJECTED = "_rejected"
OUTPUT = "output"
MOST_PROFILED = 10
"""Classes of which each probability is profiled; of more, only the prediction is."""


@dataclass(frozen=True)
class Part:
    """One file that was written."""

    file: str
    """Relative to the output."""
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Written:
    """What some chunks became: an accumulator of which the order of merging does not count."""

    parts: tuple[Part, ...] = ()
    """By name."""
    reasons: dict[str, int] = field(default_factory=dict)
    """``column: check`` to rows that were rejected for it; one row may have several."""
    found: dict[str, int] = field(default_factory=dict)
    """``column: check`` to rows that were scored although training has not seen the like."""

    def merge(self, other: Self) -> Self:
        """Return what both sets of chunks became."""
        parts = sorted({part.file: part for part in (*self.parts, *other.parts)}.items())
        return replace(
            self,
            parts=tuple(part for _, part in parts),
            reasons=_summed(self.reasons, other.reasons),
            found=_summed(self.found, other.found),
        )

    def state(self) -> dict[str, Any]:
        """Everything held, as a JSON document."""
        return {
            "parts": [[part.file, part.rows, part.bytes, part.sha256] for part in self.parts],
            "reasons": self.reasons,
            "found": self.found,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from `state`."""
        return cls(tuple(Part(*part) for part in state["parts"]), state["reasons"], state["found"])


def _summed(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in sorted({*a, *b})}


@dataclass(frozen=True)
class Scorer:
    """Scores the rows of a chunk and writes them: sent to every task, so that it names the model and does not hold it."""

    url: str
    """The package."""
    manifest_sha256: str
    version: str
    """As the column ``model`` names it."""
    output: str
    columns: tuple[str, ...] = ()
    """Columns of the data that are kept beside the scores."""
    guard: GuardOptions = field(default_factory=partial(GuardOptions, missing="reject"))
    profiled: bool = True
    """Whether inputs and scores are profiled."""
    rows: int = 0
    """Of all chunks: how the model is asked follows from it."""
    native: bool = False
    """Whether rows are prepared by compiled loops, where numba is installed: to the same numbers."""

    def __call__(self, table: pa.Table, chunk: Chunk) -> Survey:
        """Score one chunk, write its rows, and return what was found and written."""
        signature, guard, model = _loaded(
            self.url, self.manifest_sha256, self.guard, self.rows, native=self.native
        )
        rows, bad = conformed_chunk(table, signature.inputs)
        rows, findings = guard.check_table(rows)
        refused = [*bad, *((each.column, each.check, each.rows) for each in findings if each.rejected)]
        flagged = [(each.column, each.check, each.rows) for each in findings if not each.rejected]
        good = np.ones(table.num_rows, bool)
        for _, _, places in refused:
            good[places] = False
        outputs = _outputs(model, rows if good.all() else rows.filter(pa.array(good)), signature)
        finite = _finite(outputs)
        if not finite.all():
            places = np.flatnonzero(good)[~finite]
            refused.append((OUTPUT, "finite", places))
            good[places] = False
            outputs = outputs[finite]
        kept = table if good.all() else table.filter(pa.array(good))
        scored = self._scored(kept, outputs, signature)
        parts = [self._write(f"part-{chunk.index:06}.parquet", scored)] if len(outputs) else []
        if not good.all():
            name = f"{REJECTED}/part-{chunk.index:06}.parquet"
            parts.append(self._write(name, self._rejected(table, chunk, good, refused, signature)))
        written = Written(
            tuple(sorted(parts, key=lambda part: part.file)), _counts(refused), _counts(flagged)
        )
        inputs = kept.select([column.name for column in signature.inputs])
        shown = _profiled(inputs, scored, signature) if self.profiled else inputs.select([])
        return Survey(profile_table(shown), {SCORING: written})

    def _scored(self, table: pa.Table, outputs: np.ndarray[Any, Any], signature: Signature) -> pa.Table:
        held = {name: table.column(name) for name in self.columns}
        if outputs.ndim == 2:
            labels = pa.array(list(signature.classes))
            held[PREDICTION] = labels.take(pa.array(signature.codes(outputs)))
            for number, label in enumerate(signature.classes):
                held[f"{PROBABILITY}{label}"] = pa.array(np.ascontiguousarray(outputs[:, number], np.float64))
        else:
            held[PREDICTION] = pa.array(outputs)
        codes = pa.array(np.zeros(len(outputs), np.int32))
        held[MODEL] = pa.DictionaryArray.from_arrays(codes, pa.array([self.version], pa.string()))
        return pa.table(held)

    def _rejected(
        self,
        table: pa.Table,
        chunk: Chunk,
        good: np.ndarray[Any, Any],
        refused: list[tuple[str, str, np.ndarray[Any, Any]]],
        signature: Signature,
    ) -> pa.Table:
        rows = np.flatnonzero(~good)
        reasons: dict[int, list[str]] = {row: [] for row in rows.tolist()}
        for column, check, found in refused:
            for row in found.tolist():
                reasons[row].append(f"{column}: {check}")
        names = dict.fromkeys([*self.columns, *(column.name for column in signature.inputs)])
        places = list(places_of(chunk, rows))
        return (
            table.select(list(names))
            .take(pa.array(rows))
            .append_column(REASONS, pa.array(list(reasons.values()), pa.list_(pa.string())))
            .append_column(
                FILE, pa.array([key for key, numbers in places for _ in range(len(numbers))], pa.string())
            )
            .append_column(ROW, pa.array(np.concatenate([numbers for _, numbers in places]), pa.int64()))
            .append_column(MODEL, pa.array([self.version] * len(rows), pa.string()))
        )

    def _write(self, name: str, table: pa.Table) -> Part:
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        # Probabilities hardly repeat: a dictionary of them would be built for nothing.
        repeating = [column for column in table.column_names if not column.startswith(PROBABILITY)]
        pq.write_table(table, buffer, use_dictionary=repeating)
        content = buffer.getvalue()
        # A chunk has one name and its rows one order: a task that is run again writes the same bytes over them.
        write_bytes(join(self.output, name), content)
        return Part(name, table.num_rows, len(content), hashlib.sha256(content).hexdigest())


def score_source(reader: Reader, source: Source, scorer: Scorer) -> Survey:
    """Score every chunk in one pass.

    Parameters
    ----------
    reader : Reader
        Runs the pass; with a ledger it goes on where it was.
    source : Source
        The chunks, with the columns of the model and those that are kept.
    scorer : Scorer
        What is done with each.

    Returns
    -------
    Survey
        The profile of inputs and scores, and under `SCORING` what was `Written`.
    """
    form = Form(dump_survey, partial(load_survey, classes={SCORING: Written}))
    survey: Survey = reader.reduce(source, scorer, Survey.merge, name=SCORING, form=form)
    return survey


def output_names(signature: Signature) -> list[str]:
    """Names of the columns that scoring adds; of a model without probabilities, some may not come."""
    return [PREDICTION, *(f"{PROBABILITY}{label}" for label in signature.classes), MODEL, REASONS, FILE, ROW]


@lru_cache(maxsize=2)
def _loaded(
    url: str, manifest_sha256: str, guard: GuardOptions, rows: int, *, native: bool
) -> tuple[Signature, Guard, Export]:
    """Load a model once a process, and only the one that was meant."""
    package = read_package(url)
    if sha256(package.contents[MANIFEST]) != manifest_sha256:
        raise PackageError(
            "is not the package that scoring began with", where=url, mend="put it back, or begin anew"
        )
    signature = package.manifest.signature
    return (
        signature,
        Guard(signature, Profile.from_dict(package.profile), guard),
        model_of(package, rows=rows, native=native),
    )


def _outputs(model: Export, rows: pa.Table, signature: Signature) -> np.ndarray[Any, Any]:
    if not rows.num_rows:
        return np.empty((0, len(signature.classes)) if signature.classes else 0)
    try:
        # A division by 0 in a derived column is a missing value, and nothing to warn of.
        with np.errstate(divide="ignore", invalid="ignore"):
            return ask(model, rows)
    except ValueError as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"the model cannot be given these rows: {first}", where=SCORING) from error


def _finite(outputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if outputs.dtype.kind != "f":
        return np.ones(len(outputs), bool)
    finite: np.ndarray[Any, Any] = np.isfinite(outputs)
    return np.asarray(finite.all(axis=1)) if finite.ndim == 2 else finite


def _counts(found: list[tuple[str, str, np.ndarray[Any, Any]]]) -> dict[str, int]:
    return dict(sorted((f"{column}: {check}", len(rows)) for column, check, rows in found))


def _profiled(inputs: pa.Table, scored: pa.Table, signature: Signature) -> pa.Table:
    names = [PREDICTION]
    if len(signature.classes) <= MOST_PROFILED:
        names += [name for name in scored.column_names if name.startswith(PROBABILITY)]
    for name in names:
        if name in scored.column_names and name not in inputs.column_names:
            inputs = inputs.append_column(name, scored.column(name))
    return inputs
