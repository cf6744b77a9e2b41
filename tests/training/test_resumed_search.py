"""Searches and folds that end at any moment go on to the board, the rungs and the model of a search that never did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.engine import ledger
from headrace.engine.events import ChunkDone, Event
from headrace.runs import RunResult, Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

SGD = "sklearn.linear_model.SGDClassifier"
ROWS, FILES = 4_800, 8
TWO = ClusterFile(workers=2, processes=False, memory=1 << 30)
ONE = ClusterFile(workers=1, processes=False, memory=1 << 30)
MODELS = [{"name": "a", "estimator": SGD, "space": {"alpha": {"low": 1e-7, "high": 0.1, "log": True}}}]
FOLDS = {"kind": "stratified", "folds": 2}
SEARCHES: dict[str, dict[str, Any]] = {
    # Rungs after a quarter and a half of the first epoch, and at its end.
    "halving": {"search": {"kind": "halving", "candidates": 8, "eta": 2}, "validation": FOLDS},
    # Brackets whose rungs fall within the second epoch as well.
    "hyperband": {"search": {"kind": "hyperband", "candidates": 9, "eta": 2}, "train": {"epochs": 3}},
    "bayes": {"search": {"kind": "bayes", "candidates": 4, "batch": 2}},
    "nested": {
        "search": {"kind": "random", "candidates": 2},
        "validation": {"kind": "kfold", "folds": 3, "nested": True, "shared_preparation": True},
    },
}


class Stopped(BaseException):
    """Ends a run as a signal would: nothing of headrace catches it."""


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data of eight chunks, each of which is committed."""
    where = tmp_path_factory.mktemp("searches")
    rng = np.random.default_rng(0)
    (where / "data").mkdir()
    for number in range(FILES):
        x = rng.normal(size=(ROWS // FILES, 3))
        y = (x[:, 0] + rng.normal(size=ROWS // FILES) > 0).astype(int)
        table = pa.table({**{f"x{i}": x[:, i] for i in range(3)}, "y": y})
        pq.write_table(table, where / "data" / f"part-{number:02}.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setattr(chunks, "LARGEST", 24_000)
        patch.setattr(ledger, "COMMIT_SECONDS", 0.0)
        yield where


def job(**changes: Any) -> Workflow:
    document = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data"},
        "models": MODELS,
        "train": {"epochs": 2},
        "evaluate": {"bootstrap": 0},
        "checks": {"on_fail": "warn"},
        **changes,
    }
    return Workflow.parse(yaml.safe_dump(document))


@pytest.fixture(scope="module")
def wholes(place: Path) -> dict[str, RunResult]:
    """What searches end with that were never stopped."""
    found = {kind: job(**changes).run(TWO, f"whole-{kind}") for kind, changes in SEARCHES.items()}
    assert all(each.run["chunks"] == FILES for each in found.values())
    return found


def passes(result: RunResult) -> list[tuple[str, int]]:
    return [(each["name"], each["rows"]) for each in result.run["passes"]]


def board(result: RunResult) -> list[Any]:
    """Return the leaderboard but for times."""
    rows = json.loads(Path(result.directory, "leaderboard.json").read_text())["rows"]
    for row in rows:
        for each in (row, *row["folds"]):
            for name in {"seconds", "prediction_microseconds"} & each.keys():
                del each[name]
    return list(rows)


def require_same(again: RunResult, whole: RunResult) -> None:
    assert again.run["model_sha256"] == whole.run["model_sha256"]
    assert again.run["best"] == whole.run["best"]
    assert passes(again) == passes(whole)
    assert board(again) == board(whole)


def stop_after_chunk(number: int) -> Any:
    seen = 0

    def watch(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, ChunkDone)
        if seen == number:
            raise Stopped

    return watch


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_that_stops_in_a_pass_goes_on_to_the_same_board(
    kind: str, wholes: dict[str, RunResult]
) -> None:
    for index in range(1, len(passes(wholes[kind])) - 1):
        name = f"{kind}-{index}"
        with pytest.raises(Stopped):
            job(**SEARCHES[kind]).run(TWO, name, [stop_after_chunk(index * FILES + 2 + index % 5)])
        require_same(Workflow.resume(name, ONE if index % 2 else TWO), wholes[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_that_stops_after_any_of_its_decisions_goes_on_to_the_same_board(
    kind: str, wholes: dict[str, RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    append, ends = ledger.Ledger.append, 0
    seen = 0

    def append_and_stop(self: ledger.Ledger, fact: str, *given: Any, **named: Any) -> None:
        nonlocal seen
        append(self, fact, *given, **named)
        seen += fact.endswith(("epoch", "rungs"))
        if fact.endswith(("epoch", "rungs")) and seen == ends:
            raise Stopped

    monkeypatch.setattr(ledger.Ledger, "append", append_and_stop)
    for ends in range(1, 100):
        seen = 0
        try:
            job(**SEARCHES[kind]).run(TWO, f"{kind}-decision-{ends}")
            break
        except Stopped:
            seen = 1_000
        require_same(Workflow.resume(f"{kind}-decision-{ends}", ONE if ends % 2 else TWO), wholes[kind])
    assert ends > 2


@pytest.mark.slow
def test_a_search_is_extended_from_the_command_line_and_goes_on_when_killed_meanwhile(
    wholes: dict[str, RunResult], place: Path
) -> None:
    (place / "w.yaml").write_text(job(**SEARCHES["bayes"]).text)
    first = headrace("run", "w.yaml", "--run", "extended")
    before = {row["candidate"]: row["validation"] for row in first}
    extended = headrace("run", "--resume", "extended", "--more-candidates", "3")
    after = {row["candidate"]: row["validation"] for row in extended}
    assert sorted(after) == ["a 1", "a 2", "a 3", "a 4", "a 5", "a 6", "a 7", "baseline"]
    assert {name: after[name] for name in before} == before
    # The same in two pieces: stopped in the second round that was added, and gone on without naming a number again.
    job(**SEARCHES["bayes"]).run(TWO, "stopped")
    with pytest.raises(Stopped):
        Workflow.resume("stopped", TWO, [stop_in("round 4 epoch 1")], more_candidates=3)
    again = Workflow.resume("stopped", TWO)
    assert again.run["model_sha256"] == json.loads(Path("extended/run.json").read_text())["model_sha256"]
    assert {row["candidate"]: row["validation"] for row in board(again)} == after


def test_an_ensemble_of_an_extended_search_is_that_of_one_that_never_ended(place: Path) -> None:
    del place
    said = {"ensemble": {"kind": "stack", "size": 3}, "train": {"epochs": 1}}
    job(**said, search={"kind": "random", "candidates": 2}).run(TWO, "two")
    with pytest.raises(Stopped):
        Workflow.resume("two", TWO, [stop_in("round 2 epoch 1")], more_candidates=2)
    again = Workflow.resume("two", TWO)
    whole = job(**said, search={"kind": "random", "candidates": 4}).run(TWO, "four")
    rows = [{row["candidate"]: row for row in board(each)} for each in (again, whole)]
    assert rows[0].keys() == rows[1].keys() >= {"a 1", "a 2", "a 3", "a 4"}
    assert again.run["notes"][-1] == whole.run["notes"][-1]
    for name in ("ensemble", "a 4"):
        assert rows[0].get(name) == rows[1].get(name)
    assert "ensemble" in rows[0]


def stop_in(name: str) -> Any:
    seen = 0

    def watch(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, ChunkDone) and event.name == name
        if seen == 3:
            raise Stopped

    return watch


def headrace(*arguments: str) -> list[dict[str, Any]]:
    """Run the command and return the rows of the leaderboard."""
    program = (
        "from headrace.data import chunks; chunks.LARGEST = 24_000; from headrace.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    directory = json.loads(done.stdout)["directory"]
    rows: list[dict[str, Any]] = json.loads(Path(directory, "leaderboard.json").read_text())["rows"]
    return rows
