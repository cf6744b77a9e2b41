"""Ways to prepare rows among which is searched: the options of preparation with some keys changed (pure)."""

from __future__ import annotations

import json
import math
from itertools import product
from typing import TYPE_CHECKING, Any

from headrace.errors import WorkflowError
from headrace.optionfile import parse_options
from headrace.preparation.options import PrepareOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.training.candidates import Candidate
    from headrace.training.options import ModelOptions

PREPARE = "prepare."
"""Begins the keys of a space that are choices of preparation."""
MOST_WAYS = 100
"""Combinations of choices of a model beyond which not each is looked at before a run."""


def varied(options: PrepareOptions, changes: Mapping[str, Any]) -> PrepareOptions:
    """Return the options of preparation with some of their keys changed.

    Parameters
    ----------
    options : PrepareOptions
        As the workflow has them.
    changes : mapping of str to object
        A dotted key, such as ``numeric.scale`` or ``columns.age.clip``, to its value.

    Raises
    ------
    WorkflowError
        When there is no such key, or it cannot have that value.
    """
    document = options.model_dump(mode="json", exclude_unset=True)
    for key, value in changes.items():
        place, names = document, key.split(".")
        for name in names[:-1]:
            held = place.setdefault(name, {})
            if not isinstance(held, dict):
                raise WorkflowError(
                    "has no keys of its own", where=f"prepare.{key}", mend="vary a key below it"
                )
            place = held
        place[names[-1]] = value
    return parse_options(json.dumps(document), PrepareOptions, name="models[].space: prepare")


def variants_of(
    candidates: Sequence[Candidate], options: PrepareOptions
) -> tuple[list[PrepareOptions], dict[str, int]]:
    """List the different preparations of candidates, and which of them each has, by name."""
    variants: list[PrepareOptions] = []
    which = {}
    for candidate in candidates:
        mine = varied(options, candidate.prepare) if candidate.prepare else options
        if mine not in variants:
            variants.append(mine)
        which[candidate.name] = variants.index(mine)
    return variants, which


def ways_to_prepare(options: PrepareOptions, models: Sequence[ModelOptions]) -> list[PrepareOptions]:
    """List the ways to prepare rows among which a search may choose, that of the workflow first.

    Of ranges both ends stand for what is between; of very many combinations each choice stands alone.

    Parameters
    ----------
    options : PrepareOptions
        As the workflow has them.
    models : sequence of ModelOptions
        Whose spaces may have choices of preparation.
    """
    found = [options]
    for model in models:
        choices = {
            key.removeprefix(PREPARE): values if isinstance(values, list) else [values.low, values.high]
            for key, values in model.space.items()
            if key.startswith(PREPARE)
        }
        if math.prod(map(len, choices.values())) <= MOST_WAYS:
            changes = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
        else:
            changes = [{key: value} for key, values in choices.items() for value in values]
        found += [each for change in changes if (each := varied(options, change)) not in found]
    return found
