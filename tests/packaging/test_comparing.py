from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from headrace.packaging.comparing import compare_packages, pair_of, signature_differences
from headrace.packaging.package import read_package
from headrace.packaging.scores import SCORES, scores_file
from headrace.packaging.signature import InputColumn, Signature


def scored(seed: int) -> dict[str, bytes]:
    label = np.arange(100) % 2
    score = np.random.default_rng(seed).random(100) / 2 + label / 4
    columns = {"key": np.arange(100, dtype=np.uint64), "label": label, "weight": np.ones(100), "score": score}
    return {SCORES: scores_file({**columns, "predicted": score >= 0.5})}


@pytest.fixture
def two(tmp_path, fitted, write_model):
    gates = {"onnx": {"passed": True, "rows": 3}}
    write_model(tmp_path / "a", fitted("sgd-classifier"), exports=scored(1), gates=gates)
    metrics = {"metrics": {"roc_auc": {"value": 0.8, "low": 0.7, "high": 0.9}, "brier": {"value": 0.2}}}
    write_model(tmp_path / "b", fitted("naive-bayes"), exports=scored(2), metrics=metrics)
    return read_package(tmp_path / "a"), read_package(tmp_path / "b")


def test_two_packages_are_put_side_by_side(two):
    document = compare_packages(*two)
    json.dumps(document, allow_nan=False)
    assert document["metrics"]["roc_auc"][0] == {"value": 0.731, "low": 0.7, "high": 0.76}
    assert document["metrics"]["roc_auc"][1]["value"] == 0.8
    assert document["metrics"]["brier"][0] is None
    assert document["models"][0]["bytes"] == sum(document["models"][0]["files"].values())
    assert (document["models"][0]["gates"], document["models"][1]["gates"]) == ({"onnx": True}, {})
    assert (document["paired"]["metric"], document["paired"]["rows"]) == ("roc_auc", 100)
    assert (document["unpaired"], document["signatures"]) == ("", [])


def test_models_that_do_not_predict_the_same_are_not_tested(two):
    first, second = two
    signature = replace(second.manifest.signature, target="other")
    other = replace(second, manifest=replace(second.manifest, signature=signature))
    assert pair_of(first, other) == (None, "they do not predict the same: target late and other")
    assert compare_packages(first, other)["signatures"] == ["target: late and other"]


def test_clusters_have_no_test(two):
    clusters = [
        replace(one, manifest=replace(one.manifest, signature=Signature(one.manifest.signature.inputs, "clustering")))
        for one in two
    ]  # fmt: skip
    assert pair_of(*clusters) == (None, "there is no paired test for clustering")


def test_how_signatures_differ_is_said_in_a_line_each():
    def signature(*columns: InputColumn) -> Signature:
        return Signature(columns, "regression", "y")

    first = signature(
        InputColumn("a", "double", "numeric"),
        InputColumn("b", "string", "string", categories=("x",)),
        InputColumn("c", "int64", "numeric", nullable=False),
        InputColumn("d", "int64", "numeric"),
    )
    second = signature(
        InputColumn("b", "string", "string", categories=("x", "z")),
        InputColumn("c", "double", "numeric"),
        InputColumn("d", "int64", "numeric", minimum=3.0),
        InputColumn("e", "double", "numeric"),
    )
    assert signature_differences(first, second) == [
        "only the first reads a",
        "only the second reads e",
        "b: the frequent categories differ",
        "c: int64 and double",
        "c: never missing in the training data of the first",
    ]
