"""Who becomes champion: nobody without being better on the same rows, unless forced, which is remembered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.data import storage
from headrace.errors import InputError, PackageError, RefusedError
from headrace.packaging.paired import Paired
from headrace.packaging.promotion import Evidence, objections, previous, promote, prune, removable, rollback
from headrace.packaging.registry import Registry
from headrace.packaging.scores import SCORES, scores_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.packaging.package import Package

GATE = {"onnx": {"passed": True, "rows": 9}}


def scored(noise: float, *, rows: int = 400, first: int = 0) -> dict[str, bytes]:
    """Scores of a model of some noise on rows that all models share."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    label = (rng.random(rows) < 1 / (1 + np.exp(-2 * x))).astype(float)
    score = 1 / (1 + np.exp(-2 * x - noise * np.random.default_rng(int(10 * noise)).normal(size=rows)))
    key = np.arange(first, first + rows, dtype=np.uint64)
    columns = {"key": key, "label": label, "weight": np.ones(rows), "score": score}
    return {SCORES: scores_file({**columns, "predicted": (score >= 0.5).astype(float)})}


@pytest.fixture
def registry(tmp_path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def publish(registry, tmp_path, fitted, write_model) -> Callable[..., int]:
    """Publish a model of some noise, and say its version."""

    def publish(noise: float | None = 1.0, *, status: str = "passed", first: int = 0, **given: Any) -> int:
        place = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
        exports = {} if noise is None else scored(noise, first=first)
        write_model(place, fitted("sgd-classifier"), exports=exports, **{"gates": GATE, **given})
        return registry.publish("late", place, status=status)  # type: ignore[no-any-return]  # of a fixture

    return publish


def test_one_that_is_better_becomes_champion_and_the_history_says_by_what(registry, publish):
    publish(2.0)
    better = publish(0.1)
    moved = promote(registry, "late", better)
    assert registry.aliases("late") == {"champion": 2}
    assert (moved["before"], moved["version"], moved["note"]["forced"]) == (1, 2, False)
    assert registry.alias_history("late")[-1]["note"] == moved["note"]
    assert moved["note"]["paired"]["metric"] == "roc_auc"
    assert moved["note"]["paired"]["low"] > 0


def test_one_that_is_not_shown_to_be_better_is_refused(registry, publish):
    publish(0.1)
    for noise in (2.0, 0.1):
        version = publish(noise)
        with pytest.raises(
            RefusedError, match=f"late@{version}: it is not shown to be better .* nothing was moved"
        ):
            promote(registry, "late", version)
    assert registry.aliases("late") == {"champion": 1}


def test_force_promotes_and_is_remembered(registry, publish):
    publish(0.1)
    promote(registry, "late", publish(2.0), force=True, why="the old one leaks")
    note = registry.alias_history("late")[-1]["note"]
    assert registry.aliases("late") == {"champion": 2}
    assert note["forced"]
    assert "not shown to be better" in note["against"][0]
    assert note["why"] == "the old one leaks"


def test_force_that_was_not_needed_is_no_force(registry, publish):
    publish(2.0)
    assert not promote(registry, "late", publish(0.1), force=True)["note"]["forced"]


def test_the_first_champion_has_nobody_to_beat(registry, publish):
    version = publish(1.0, status="candidate")
    with pytest.raises(RefusedError, match="missed its success criteria"):
        promote(registry, "late", version)
    promote(registry, "late", version, force=True)
    assert registry.aliases("late") == {"champion": 1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"noise": None}, r"cannot be tested against the champion: .*/late/2 has no scores\.parquet"),
        ({"first": 10_000}, "they have 0 test rows in common"),
        ({"status": "candidate"}, "missed its success criteria"),
        (
            {"gates": {"onnx": {"passed": False, "rows": 9, "largest_difference": 0.25}}},
            r"onnx file differs from the pipeline by 0\.25",
        ),
    ],
)
def test_what_speaks_against_a_version_is_said(registry, publish, given, said):
    publish(2.0)
    version = publish(**{"noise": 0.1, **given})
    with pytest.raises(RefusedError, match=said):
        promote(registry, "late", version)
    assert registry.aliases("late") == {"champion": 1}


def test_evidence_speaks_against_a_champion_alone_and_is_remembered(registry, publish):
    publish(2.0)
    version = publish(0.1)
    asked = []

    def examine(package: Package) -> Evidence:
        asked.append(package.url)
        return Evidence(("its inputs moved",), {"drift": {"rows": 9}})

    with pytest.raises(RefusedError, match="its inputs moved; nothing was moved"):
        promote(registry, "late", version, examine=examine)
    promote(registry, "late", version, alias="challenger", examine=examine)
    assert asked == [registry.resolve(f"late@{version}")]
    note = promote(registry, "late", version, examine=examine, force=True)["note"]
    assert (note["forced"], note["against"], note["drift"]) == (True, ["its inputs moved"], {"rows": 9})


def test_what_was_better_in_use_need_not_be_better_on_old_test_rows(registry, publish):
    publish(0.1)
    version = publish(2.0)
    note = promote(registry, "late", version, examine=lambda _: Evidence(better=True))["note"]
    assert (note["forced"], note["paired"]["difference"] < 0) == (False, True)


def test_a_model_that_cannot_be_exported_may_be_champion():
    gates = {"onnx": {"passed": False, "rows": 0, "reason": "Perceptron gives no probabilities"}}
    assert objections("passed", gates, None) == ()


def test_a_challenger_need_not_be_better(registry, publish):
    publish(0.1)
    promote(registry, "late", publish(2.0), alias="challenger")
    assert registry.aliases("late") == {"champion": 1, "challenger": 2}
    with pytest.raises(RefusedError, match="missed"):
        promote(registry, "late", publish(0.1, status="candidate"), alias="challenger")


def test_a_champion_that_is_one_already_is_told(registry, publish):
    publish()
    with pytest.raises(InputError, match="late@1: is champion already"):
        promote(registry, "late", 1)


def test_a_damaged_version_is_not_promoted(registry, publish):
    publish(2.0)
    publish(0.1)
    (Path(registry.url) / "late/2" / SCORES).write_bytes(b"changed")
    with pytest.raises(PackageError, match=r"scores\.parquet was changed"):
        promote(registry, "late", 2, force=True)


@pytest.mark.parametrize("low", [-0.1, 0.0])
def test_an_interval_with_zero_in_it_is_no_better(low: float):
    paired = Paired("roc_auc", 99, 0.7, 0.75, 0.05, low, 0.2, 0.1)
    assert len(objections("passed", {}, paired)) == 1


def moves(*steps: str) -> Sequence[dict[str, Any]]:
    """``+3``: champion became 3; ``-3``: it went back to 3."""
    return [
        {"alias": "champion", "version": int(step[1:]), "note": {"how": "rollback" if step[0] == "-" else "promote"}}
        for step in steps
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "back"),
    [
        ([], None),
        (["+1"], None),
        (["+1", "+2"], 1),
        (["+1", "+2", "+3", "-2"], 1),
        (["+1", "+2", "+3", "-2", "-1"], None),
        (["+1", "+2", "-1", "+3"], 1),
        (["+1", "+2", "+1"], 2),
        (["+1", "+9", "+3"], 1),  # 9 was removed
        (["+1", "+9", "+3", "-1"], None),
    ],
)
def test_going_back_twice_goes_back_by_two(steps: list[str], back: int | None):
    others = [{"alias": "challenger", "version": 4}]
    assert previous([*moves(*steps), *others], "champion", {1, 2, 3, 4}) == back


def test_rollback_moves_the_alias_back(registry, publish):
    publish(2.0)
    promote(registry, "late", publish(0.1))
    assert rollback(registry, "late", why="slow")["version"] == 1
    assert registry.aliases("late") == {"champion": 1}
    assert registry.alias_history("late")[-1]["note"] == {"how": "rollback", "why": "slow"}
    with pytest.raises(RefusedError, match="champion has no earlier version"):
        rollback(registry, "late")
    with pytest.raises(RefusedError, match="challenger stands for nothing"):
        rollback(registry, "late", alias="challenger")


def test_of_what_is_removed_nothing_is_new_or_aliased():
    assert removable(range(1, 8), {1, 5}, 2) == [2, 3, 4]
    assert removable([3], set(), 5) == []


def test_prune_keeps_the_newest_and_those_with_an_alias(registry, publish):
    for _ in range(4):
        publish()
    registry.set_alias("late", "challenger", 2)
    assert prune(registry, "late", 1) == [3]
    assert registry.versions("late") == [1, 2, 4]
    assert not (Path(registry.url) / "late/3").exists()
    assert publish() == 5
    with pytest.raises(InputError, match="keep at least 1"):
        prune(registry, "late", 0)
    with pytest.raises(InputError, match="there is no model"):
        prune(registry, "later", 1)


def test_a_version_that_gets_an_alias_while_it_is_removed_stays(registry, publish, monkeypatch):
    publish()
    publish()
    publish()
    real = storage.remove_tree
    hit: list[str] = []

    def remove(url: str) -> None:
        if url.endswith("/2/manifest.json") and not hit:
            hit.append(url)
            registry.set_alias("late", "challenger", 2)
        real(url)

    monkeypatch.setattr("headrace.packaging.promotion.remove_tree", remove)
    assert prune(registry, "late", 1) == []
    assert registry.resolve("late@challenger").endswith("/2")


def test_an_alias_does_not_stay_on_a_version_that_is_removed_meanwhile(registry, publish, monkeypatch):
    publish()
    publish()
    publish()
    real = storage.create

    def create(url: str, data: bytes) -> bool:
        storage.remove_tree(f"{registry.url}/late/2")
        return real(url, data)

    monkeypatch.setattr(storage, "create", create)
    with pytest.raises(InputError, match="late has no version 2"):
        registry.set_alias("late", "champion", 2)
    assert registry.aliases("late") == {"champion": 1}
