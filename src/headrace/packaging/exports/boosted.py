"""Boosted trees of XGBoost, read, and as one node of an ONNX graph."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import PackageError

if TYPE_CHECKING:
    from headrace.packaging.exports.graph import Graph

BOOSTED = ("XGBClassifier", "XGBRegressor")
"""Names of the classes whose trees are read here."""
LINKS = {
    "binary:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
}
"""How an objective turns the sum of the leaves into what the model says."""


@dataclass(frozen=True)
class Trees:
    """What boosted trees add up, as XGBoost dumps it."""

    roots: tuple[dict[str, Any], ...]
    """Nodes within nodes."""
    outputs: tuple[int, ...]
    """Of each tree: the output that its leaves are added to."""
    base: tuple[float, ...]
    """Of each output: what the sum of its leaves begins with."""
    link: str
    """As in `LINKS`."""
    places: dict[str, int]
    """Of features that have names."""

    def place(self, node: dict[str, Any]) -> int:
        """Return the feature of a split."""
        split = node["split"]
        return self.places[split] if split in self.places else int(split.removeprefix("f"))


def read_trees(estimator: Any) -> Trees:
    """Read the trees of a fitted `XGBClassifier` or `XGBRegressor`.

    Raises
    ------
    PackageError
        When the objective is not known here, what is boosted are no trees, or one tree adds to several outputs.
    """
    booster, name = estimator.get_booster(), type(estimator).__name__
    learner = json.loads(booster.save_config())["learner"]
    objective, boosted = learner["objective"]["name"], learner["gradient_booster"]["name"]
    if objective not in LINKS:
        raise PackageError(f"the objective {objective} has no converter", where=name)
    if boosted != "gbtree":
        raise PackageError(f"the booster {boosted} has no converter", where=name)
    outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    roots = tuple(json.loads(text) for text in booster.get_dump(dump_format="json"))
    if any(isinstance(_first_leaf(root), list) for root in roots):
        raise PackageError(
            "trees that add to several outputs each have no converter",
            where=name,
            mend="train with multi_strategy: one_output_per_tree",
        )
    # A round grows `num_parallel_tree` trees of each output, one output after the other.
    together = int(learner["gradient_booster"]["gbtree_model_param"]["num_parallel_tree"])
    return Trees(
        roots,
        tuple(tree // together % outputs for tree in range(len(roots))),
        _base(learner, objective, outputs),
        LINKS[objective],
        {name: place for place, name in enumerate(booster.feature_names or [])},
    )


def _first_leaf(node: dict[str, Any]) -> Any:
    while "leaf" not in node:
        node = node["children"][0]
    return node["leaf"]


@dataclass
class _Nodes:
    """Attributes of ONNX's TreeEnsembleRegressor, in its own names."""

    nodes_treeids: list[int] = field(default_factory=list)
    nodes_nodeids: list[int] = field(default_factory=list)
    nodes_featureids: list[int] = field(default_factory=list)
    nodes_values: list[float] = field(default_factory=list)
    nodes_modes: list[str] = field(default_factory=list)
    nodes_truenodeids: list[int] = field(default_factory=list)
    nodes_falsenodeids: list[int] = field(default_factory=list)
    nodes_missing_value_tracks_true: list[int] = field(default_factory=list)
    target_treeids: list[int] = field(default_factory=list)
    target_nodeids: list[int] = field(default_factory=list)
    target_ids: list[int] = field(default_factory=list)
    target_weights: list[float] = field(default_factory=list)


def add_trees(graph: Graph, estimator: Any, features: str) -> tuple[str, int, str]:
    """Add the trees of a fitted `XGBClassifier` or `XGBRegressor`.

    XGBoost adds leaves as float32 in the order of the trees, and so does the runtime; what is left is rounding.

    Parameters
    ----------
    graph : Graph
        Grows.
    estimator : XGBModel
        Fitted.
    features : str
        Tensor of float32, shape (rows, features).

    Returns
    -------
    sums : str
        Tensor of float32, shape (rows, outputs): base score and leaves.
    outputs : int
        1, or the number of classes where there are more than two.
    link : str
        As in `LINKS`.

    Raises
    ------
    PackageError
        When the objective, or a split by sets of categories, is not known here.
    """
    trees = read_trees(estimator)
    outputs = len(trees.base)
    nodes = _Nodes()
    for tree, (root, output) in enumerate(zip(trees.roots, trees.outputs, strict=True)):
        _add(nodes, root, tree, output, trees)
    sums = graph.add(
        "TreeEnsembleRegressor",
        features,
        domain="ai.onnx.ml",
        n_targets=outputs,
        aggregate_function="SUM",
        base_values=list(trees.base),
        **vars(nodes),
    )
    return sums, outputs, trees.link


def _base(learner: dict[str, Any], objective: str, outputs: int) -> tuple[float, ...]:
    """Return what the sums of the leaves begin with: the base score, before the link."""
    held = json.loads(learner["learner_model_param"]["base_score"])
    scores = [float(score) for score in (held if isinstance(held, list) else [held])]
    if objective == "binary:logistic":
        scores = [math.log(score / (1 - score)) for score in scores]
    elif LINKS[objective] == "exp":
        scores = [math.log(score) for score in scores]
    return tuple(float(np.float32(score)) for score in scores * (outputs if len(scores) == 1 else 1))


def _add(nodes: _Nodes, node: dict[str, Any], tree: int, output: int, trees: Trees) -> None:
    leaf = "leaf" in node
    nodes.nodes_treeids.append(tree)
    nodes.nodes_nodeids.append(node["nodeid"])
    if leaf:
        nodes.target_treeids.append(tree)
        nodes.target_nodeids.append(node["nodeid"])
        nodes.target_ids.append(output)
        nodes.target_weights.append(float(node["leaf"]))
    elif not isinstance(node["split_condition"], (int, float)):
        raise PackageError("a split by a set of categories has no converter", where="ONNX")
    # XGBoost goes to `yes` where the feature is less than the condition.
    nodes.nodes_modes.append("LEAF" if leaf else "BRANCH_LT")
    nodes.nodes_values.append(0.0 if leaf else float(node["split_condition"]))
    nodes.nodes_featureids.append(0 if leaf else trees.place(node))
    nodes.nodes_truenodeids.append(0 if leaf else node["yes"])
    nodes.nodes_falsenodeids.append(0 if leaf else node["no"])
    nodes.nodes_missing_value_tracks_true.append(int(not leaf and node["missing"] == node["yes"]))
    for child in node.get("children", []):
        _add(nodes, child, tree, output, trees)
