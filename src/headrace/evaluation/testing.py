"""The pass over the test split: every model that is assessed sees the same prepared rows."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.engine.commits import Form
from headrace.engine.order import TEST, row_keys
from headrace.evaluation.assess import AssessmentState
from headrace.training.candidates import capabilities
from headrace.training.scoring import kind_of, outputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.data.dataset import Chunk
    from headrace.engine.passes import Reader
    from headrace.engine.source import Source
    from headrace.evaluation.assess import Assessment
    from headrace.evaluation.options import EvaluateOptions
    from headrace.training.blocks import BlockMaker


@dataclass(frozen=True)
class _Tester:
    """Scores the test rows of a chunk: told once, sent to every task."""

    maker: BlockMaker
    models: Mapping[str, Any]
    task: str
    options: EvaluateOptions

    def __call__(self, table: pa.Table, chunk: Chunk) -> dict[str, AssessmentState]:
        target = self.maker.target
        states = {
            name: AssessmentState(self.task, [str(label) for label in target.classes], self.options)
            for name in self.models
        }
        parts = self.maker.splitter.parts(table, chunk)
        rows = np.flatnonzero((parts == TEST) & target.known(table))
        if len(rows) == 0:
            return states
        block = self.maker.block(table, rows)
        taken = table.take(pa.array(rows))
        keys = row_keys(chunk)[rows]
        kind = kind_of(self.task, len(target.classes))
        slices = {name: taken.column(name) for name in self.options.slices}
        for name, model in self.models.items():
            said = outputs(model, block.X, kind=kind, sparse=capabilities(model).sparse)
            if kind == "clustering":
                states[name].update(said, block.X, keys=keys)
            else:
                truth = target.codes(taken)
                states[name].update(truth, said, weight=block.weight, keys=keys, slices=slices)
        return states


def assess(
    reader: Reader,
    source: Source,
    maker: BlockMaker,
    models: Mapping[str, Any],
    options: EvaluateOptions,
    *,
    task: str,
    name: str = "test",
) -> dict[str, Assessment]:
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
    name : str, optional
        Of the pass.

    Returns
    -------
    dict of str to Assessment
    """
    states = reader.reduce(source, _Tester(maker, models, task, options), _merge, name=name, form=FORM)
    return {name: state.result() for name, state in states.items()}


def _merge(left: dict[str, AssessmentState], right: dict[str, AssessmentState]) -> dict[str, AssessmentState]:
    return {name: state.merge(right[name]) for name, state in left.items()}


def dump_states(states: dict[str, AssessmentState]) -> list[bytes]:
    """Write the states of all models as compressed JSON."""
    document = {name: state.state() for name, state in states.items()}
    return [zlib.compress(json.dumps(document, allow_nan=False, separators=(",", ":")).encode(), 1)]


def load_states(pieces: list[bytes]) -> dict[str, AssessmentState]:
    """Rebuild from `dump_states`."""
    (piece,) = pieces
    document = json.loads(zlib.decompress(piece))
    return {name: AssessmentState.from_state(state) for name, state in document.items()}


FORM = Form(dump_states, load_states)
