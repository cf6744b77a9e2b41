"""The pass over the test split: every model that is assessed sees the same prepared rows."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.accumulators.celllosses import CellLosses
from headrace.engine.commits import Form
from headrace.engine.order import TEST, row_keys
from headrace.evaluation.assess import AssessmentState
from headrace.evaluation.cells import losses_of
from headrace.evaluation.testrows import HeldOutRows, raw_rows
from headrace.training.candidates import capabilities
from headrace.training.scoring import kind_of, outputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.data.dataset import Chunk
    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.evaluation.assess import Assessment
    from headrace.evaluation.cells import Cells
    from headrace.evaluation.options import EvaluateOptions
    from headrace.training.blocks import BlockMaker


@dataclass(frozen=True)
class Outcome:
    """What the pass has found: states on the way, assessments at its end."""

    assessments: Mapping[str, Any]
    rows: HeldOutRows
    """Some of the test rows, with what the model said that is kept."""
    losses: Mapping[str, CellLosses]
    """Of the model that is kept, by column and cell."""


@dataclass(frozen=True)
class _Tester:
    """Scores the test rows of a chunk: told once, sent to every task."""

    maker: BlockMaker
    models: Mapping[str, Any]
    kept: str
    task: str
    options: EvaluateOptions
    cells: Mapping[str, Cells]

    def __call__(self, table: pa.Table, chunk: Chunk) -> Outcome:
        target = self.maker.target
        states = {
            name: AssessmentState(self.task, [str(label) for label in target.classes], self.options)
            for name in self.models
        }
        names = list(self.maker.recipes[0].features)
        held = HeldOutRows(self.task, raw=raw_rows(len(names)))
        losses = {name: CellLosses.empty(len(cells.names)) for name, cells in self.cells.items()}
        parts = self.maker.splitter.parts(table, chunk)
        rows = np.flatnonzero((parts == TEST) & target.known(table))
        if len(rows) == 0:
            return Outcome(states, held, losses)
        taken = table.take(pa.array(rows))
        block = self.maker.block(taken, np.arange(len(rows)))
        keys = row_keys(chunk)[rows]
        kind = kind_of(self.task, len(target.classes))
        features = taken.select(names)
        slices = {name: taken.column(name) for name in self.options.slices}
        for name, model in self.models.items():
            said = outputs(model, block.X, kind=kind, sparse=capabilities(model).sparse)
            if kind == "clustering":
                states[name].update(said, block.X, keys=keys)
                if name == self.kept:
                    held.update(keys, features)
            else:
                truth = target.codes(taken)
                states[name].update(truth, said, weight=block.weight, keys=keys, slices=slices)
                if name == self.kept:
                    limit = self.options.threshold
                    held.update(keys, features, truth, said, block.weight, threshold=limit)
                    each = losses_of(said, truth, self.task)
                    losses = {
                        column: losses[column].update(cells.codes(taken.column(column)), each, block.weight)
                        for column, cells in self.cells.items()
                    }
        return Outcome(states, held, losses)


def assess(
    reader: Reader,
    source: Source,
    maker: BlockMaker,
    models: Mapping[str, Any],
    options: EvaluateOptions,
    *,
    task: str,
    kept: str,
    cells: Mapping[str, Cells],
    name: str = "test",
) -> Outcome:
    """Assess fitted estimators on the test part in one pass.

    Parameters
    ----------
    reader : Reader
        Runs the pass and counts it.
    source : Source
        The chunks.
    maker : BlockMaker
        Prepares the rows as it did for training.
    models : mapping of str to fitted estimator
        What is assessed.
    options : EvaluateOptions
        Slices, bootstrap, threshold.
    task : str
        classification, regression or clustering.
    kept : str
        The model whose scores of some rows are kept.
    cells : mapping of str to Cells
        By column, in which the losses of this model are added up.
    name : str, optional
        Of the pass.

    Returns
    -------
    Outcome
        With an `Assessment` of each model.
    """
    tester = _Tester(maker, models, kept, task, options, cells)
    found = reader.reduce(source, tester, _merge, name=name, form=FORM)
    assessments: dict[str, Assessment] = {name: state.result() for name, state in found.assessments.items()}
    return Outcome(assessments, found.rows, found.losses)


def _merge(left: Outcome, right: Outcome) -> Outcome:
    states = {name: state.merge(right.assessments[name]) for name, state in left.assessments.items()}
    losses = {column: held.merge(right.losses[column]) for column, held in left.losses.items()}
    return Outcome(states, left.rows.merge(right.rows), losses)


def dump_states(found: Outcome) -> list[bytes]:
    """Write the states of all models and the rows that are kept as compressed JSON."""
    document = {
        "assessments": {name: state.state() for name, state in found.assessments.items()},
        "rows": found.rows.state(),
        "losses": {column: held.state() for column, held in found.losses.items()},
    }
    return [zlib.compress(json.dumps(document, allow_nan=False, separators=(",", ":")).encode(), 1)]


def load_states(pieces: list[bytes]) -> Outcome:
    """Rebuild from `dump_states`."""
    (piece,) = pieces
    document = json.loads(zlib.decompress(piece))
    states = {name: AssessmentState.from_state(state) for name, state in document["assessments"].items()}
    losses = {column: CellLosses.from_state(state) for column, state in document["losses"].items()}
    return Outcome(states, HeldOutRows.from_state(document["rows"]), losses)


FORM = Form(dump_states, load_states)
