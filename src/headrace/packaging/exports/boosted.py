"""Boosted trees of XGBoost as one node of an ONNX graph."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import PackageError

if TYPE_CHECKING:
    from headrace.packaging.exports.graph import Graph

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
    booster = estimator.get_booster()
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    if objective not in LINKS:
        raise PackageError(f"the objective {objective} has no converter", where="ONNX")
    outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    places = {name: place for place, name in enumerate(booster.feature_names or [])}
    nodes = _Nodes()
    for tree, text in enumerate(booster.get_dump(dump_format="json")):
        _add(nodes, json.loads(text), tree, tree % outputs, places)
    sums = graph.add(
        "TreeEnsembleRegressor",
        features,
        domain="ai.onnx.ml",
        n_targets=outputs,
        aggregate_function="SUM",
        base_values=_base(learner, objective, outputs),
        **vars(nodes),
    )
    return sums, outputs, LINKS[objective]


def _base(learner: dict[str, Any], objective: str, outputs: int) -> list[float]:
    """Return what the sum of the leaves begins with: the base score, before the link."""
    held = json.loads(learner["learner_model_param"]["base_score"])
    scores = [float(score) for score in (held if isinstance(held, list) else [held])]
    if objective == "binary:logistic":
        scores = [math.log(score / (1 - score)) for score in scores]
    elif LINKS[objective] == "exp":
        scores = [math.log(score) for score in scores]
    return [float(np.float32(score)) for score in scores * (outputs if len(scores) == 1 else 1)]


def _add(nodes: _Nodes, node: dict[str, Any], tree: int, output: int, places: dict[str, int]) -> None:
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
    nodes.nodes_featureids.append(0 if leaf else _place(node["split"], places))
    nodes.nodes_truenodeids.append(0 if leaf else node["yes"])
    nodes.nodes_falsenodeids.append(0 if leaf else node["no"])
    nodes.nodes_missing_value_tracks_true.append(int(not leaf and node["missing"] == node["yes"]))
    for child in node.get("children", []):
        _add(nodes, child, tree, output, places)


def _place(split: str, places: dict[str, int]) -> int:
    return places[split] if split in places else int(split.removeprefix("f"))
