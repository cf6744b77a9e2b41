"""A label finds its prediction in whichever process that is, once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.monitoring.conftest import NOON, Served

from headrace.data import storage
from headrace.errors import StorageError
from headrace.monitoring import strays
from headrace.monitoring.recording import Recorder
from headrace.monitoring.store import MonitorStore
from headrace.monitoring.strays import Stray, Strays

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.monitoring.grids import Grid


@pytest.fixture
def processes(grid: Grid, tmp_path: Path) -> list[Served]:
    made = []
    for seed in (0, 1000):
        recorder = Recorder(str(tmp_path), "late")
        recorder.add("late@1", grid)
        made.append(Served(recorder, seed=seed))
    return made


def look(served: Served) -> None:
    """What the thread of a recorder does at each look, without waiting."""
    served.recorder.take((*served.queue.drain(), *served.recorder._strays.find(at_once=True)))
    served.recorder.leave()


def test_a_label_that_reached_another_process_is_joined_once(processes: list[Served], tmp_path: Path) -> None:
    one, other = processes
    names = one.predict(NOON, 40)
    other.label(NOON + 5, (*names[:30], "stranger"), ["yes"] * 31)
    one.label(NOON + 5, names[30:], ["no"] * 10)
    for _ in range(4):
        look(other)
        look(one)
    assert len(list(tmp_path.rglob("strays/*.json"))) == 1
    assert "size" not in next(tmp_path.rglob("strays/*.json")).read_text()
    for served in processes:
        served.recorder.flush(everything=True)
    windows = MonitorStore(str(tmp_path), "late").read()
    assert sum(window.outcomes.rows for window in windows) == 40
    assert sum(window.traffic.unmatched for window in windows) == 1


def test_what_has_waited_is_deleted_and_what_is_damaged_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (Strays(MonitorStore(str(tmp_path), "late")) for _ in range(2))
    one.leave([])
    assert not list(tmp_path.rglob("*.json"))
    one.leave([Stray(NOON, "r", ("yes", None))])
    folder = tmp_path / "late" / "strays"
    (folder / f"{os.getpid()}9999999999-ffffffff.json").write_text("{}")
    (folder / "note.txt").write_text("")
    assert other.find(at_once=True) == [Stray(NOON, "r", ("yes", None))]
    assert other.find(at_once=True) == []
    assert one.find(at_once=True) == []  # its own
    monkeypatch.setattr(strays, "KEPT", -1.0)
    assert other.find() == []  # it has just looked
    assert len(list(folder.glob("*.json"))) == 2
    other.find(at_once=True)
    assert len(list(folder.glob("*.json"))) == 1


def test_a_store_that_is_away_costs_the_labels_and_nothing_else(
    processes: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(url: str, _: object = None) -> None:
        raise StorageError("is away", where=url)

    served = processes[0]
    monkeypatch.setattr(storage, "write_json", away)
    monkeypatch.setattr(storage, "list_names", away)
    served.label(NOON, ("stranger",), ["yes"])
    for _ in range(3):
        look(served)
    served.recorder.flush(everything=True)
    monkeypatch.undo()
    assert sum(window.traffic.unmatched for window in served.recorder.store.read()) == 1


def test_what_could_not_be_read_is_read_at_the_next_look_and_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (Strays(MonitorStore(str(tmp_path), "late")) for _ in range(3))
    first.leave([Stray(NOON, "a", ("yes",))])
    second.leave([Stray(NOON, "b", ("no",))])
    read, tried = storage.read_json, []

    def once_away(url: str) -> object:
        tried.append(url)
        if len(tried) == 1:
            raise StorageError("is away", where=url)
        return read(url)

    monkeypatch.setattr(storage, "read_json", once_away)
    looks = [{stray.request_id for stray in third.find(at_once=True)} for _ in range(3)]
    assert [len(look) for look in looks] == [1, 1, 0]
    assert looks[0] | looks[1] == {"a", "b"}
