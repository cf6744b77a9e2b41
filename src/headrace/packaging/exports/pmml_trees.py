"""Boosted trees of XGBoost as sums of tree models in a PMML file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.packaging.exports.pmml_elements import Decision, child, model, output, segment, segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree import ElementTree as ET

    from headrace.packaging.exports.boosted import Trees


def features_of(trees: Trees) -> list[int]:
    """Return the places of the features that trees split by; of trees that do not, the first one, as a model takes one."""
    return sorted({trees.place(node) for root in trees.roots for node in _splits(root)}) or [0]


def add_sums(place: ET.Element, trees: Trees, names: Mapping[int, str]) -> list[Decision]:
    """Add a model for each output, which adds up the leaves of its trees.

    Parameters
    ----------
    place : Element
        A chain of models.
    trees : Trees
        As XGBoost dumps them.
    names : mapping of int to str
        Fields of the features that the trees split by.

    Returns
    -------
    list of Decision
        The sums with what they begin with.
    """
    decisions = []
    for number, base in enumerate(trees.base):
        name = f"sum: {number}"
        roots = [root for root, own in zip(trees.roots, trees.outputs, strict=True) if own == number]
        made = model(segment(place), "MiningModel", names.values(), functionName="regression")
        output(child(made, "Output"), name, "predictedValue")
        summed = segments(made, "sum")
        for root in roots:
            used = dict.fromkeys(names[trees.place(node)] for node in _splits(root))
            tree = model(
                segment(summed),
                "TreeModel",
                used or list(names.values())[:1],
                functionName="regression",
                missingValueStrategy="defaultChild",
                splitCharacteristic="binarySplit",
            )
            _add(tree, root, trees, names)
        decisions.append(Decision(base, ((name, 1.0),)))
    return decisions


def _splits(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "leaf" not in node:
        yield node
        for each in node["children"]:
            yield from _splits(each)


def _add(
    parent: ET.Element,
    node: dict[str, Any],
    trees: Trees,
    names: Mapping[int, str],
    split: dict[str, Any] | None = None,
) -> None:
    """Add a node and those below it, of which `split` is the one above."""
    leaf = "leaf" in node
    about = {"score": repr(float(node["leaf"]))} if leaf else {"defaultChild": str(node["missing"])}
    made = child(parent, "Node", id=str(node["nodeid"]), **about)
    if split is None:
        child(made, "True")
    else:
        _choose(made, names[trees.place(split)], split["split_condition"], node["nodeid"] == split["yes"])
    for each in node.get("children", []):
        _add(made, each, trees, names, node)


def _choose(place: ET.Element, field: str, condition: Any, yes: bool) -> None:
    """Say when a node is chosen: of a set of codes, `yes` is to be in it; of a number, to be less."""
    if isinstance(condition, list):
        held = child(place, "SimpleSetPredicate", field=field, booleanOperator="isIn" if yes else "isNotIn")
        child(held, "Array", n=str(len(condition)), type="real").text = " ".join(map(str, condition))
        return
    less, border = border_of(condition)
    other = {"lessThan": "greaterOrEqual", "lessOrEqual": "greaterThan"}[less]
    child(place, "SimplePredicate", field=field, operator=less if yes else other, value=repr(border))


def border_of(condition: float) -> tuple[str, float]:
    """Say which float64 are less than a condition once they are rounded to float32, as XGBoost does.

    Those below the middle between the condition and the float32 before it; the middle itself is rounded to the one of
    the two whose last bit is 0 (IEEE 754, ties to even).

    Returns
    -------
    operator : {"lessThan", "lessOrEqual"}
    border : float
        The middle, which float64 holds exactly.
    """
    own = np.float32(condition)
    middle = (float(own) + float(np.nextafter(own, np.float32(-np.inf)))) / 2
    return ("lessOrEqual" if own.view(np.int32) & 1 else "lessThan"), middle
