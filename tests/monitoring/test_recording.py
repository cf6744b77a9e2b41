"""Events become windows; windows add up exactly, whoever wrote them, rolled up or not, after any crash."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.monitoring.conftest import NOON, Served

from headrace.data import storage
from headrace.errors import InputError, StorageError
from headrace.monitoring.recording import Recorder
from headrace.monitoring.store import MonitorStore
from headrace.monitoring.windows import HOUR, Window, whole

if TYPE_CHECKING:
    from headrace.monitoring.grids import Grid


def _rows(store: MonitorStore) -> list[int]:
    return [window.rows for window in store.read() if window.arm]


def test_minutes_versions_and_arms_are_counted_apart(served: Served) -> None:
    served.predict(NOON, 10)
    served.predict(NOON + 59.9, 5)
    served.predict(NOON + 60, 7)
    served.predict(NOON, 3, arm="challenger", version="late@2")
    served.fail(NOON, 503)
    served.take()
    found = {(window.start, window.version, window.arm): window for window in served.recorder.store.read()}
    assert {key: window.rows for key, window in found.items()} == {
        (NOON, "late@1", "champion"): 15,
        (NOON + 60, "late@1", "champion"): 7,
        (NOON, "late@2", "challenger"): 3,
        (NOON, "late", ""): 0,
        (NOON + 60, "late", ""): 0,
    }
    first = found[NOON, "late@1", "champion"]
    assert first.inputs["size"].rows == first.scores["yes"].rows == first.traffic.requests == 15
    assert found[NOON, "late", ""].traffic.failures == {"503": 1}
    assert found[NOON, "late", ""].traffic.error_rate == 1 / 19
    assert first.traffic.latency(0.99) == pytest.approx(0.002, rel=0.13)


def test_a_minute_is_written_once_it_is_over(served: Served) -> None:
    served.predict(NOON, 10)
    served.take(NOON + 30)
    assert served.recorder.store.read() == []
    served.take(NOON + 61)
    assert _rows(served.recorder.store) == [10]


def test_labels_find_their_predictions(served: Served) -> None:
    names = served.predict(NOON, 4, scores=[0.9, 0.8, 0.3, 0.6])
    served.label(NOON + 120, names, ["yes", "no", "no", "yes"])
    served.label(NOON + 120, names[:1], ["yes"])  # a second time: it is not known any more
    served.label(NOON + 120, ("stranger",), ["yes"])
    served.take()
    windows = served.recorder.store.read()
    outcomes = next(window.outcomes for window in windows if window.outcomes.rows)
    metrics = outcomes.metrics()
    assert outcomes.rows == 4
    assert metrics["accuracy"].value == 0.75
    assert metrics["brier"].value == pytest.approx((0.01 + 0.64 + 0.09 + 0.16) / 4)
    assert metrics["roc_auc"].value == 0.75
    assert sum(window.traffic.unmatched for window in windows) == 2


def test_errors_are_of_what_each_version_decides(grid: Grid, tmp_path: Path) -> None:
    """Each by its own threshold, in pairs too: what a server answers, not what is most probable."""
    recorder = Recorder(str(tmp_path / "monitor"), "late")
    recorder.add("late@1", dataclasses.replace(grid, threshold=0.2))
    recorder.add("late@2", grid)
    assert dataclasses.replace(grid, threshold=0.2).digest == grid.digest
    served = Served(recorder)
    names = served.predict(NOON, 4, scores=[0.1, 0.2, 0.3, 0.9])
    served.predict(NOON, 4, scores=[0.1, 0.2, 0.3, 0.9], ids=names, version="late@2", arm="challenger")
    served.label(NOON, names, ["no", "yes", "yes", "yes"])
    served.take()
    found = {
        window.arm: window.outcomes for window in recorder.store.read() if window.arm and window.outcomes.rows
    }
    assert found["champion"].metrics()["accuracy"].value == 1.0
    assert found["challenger"].metrics()["accuracy"].value == 0.5
    assert found["challenger"].pairs["error"].mean == 0.5
    assert found["challenger"].pairs["log_loss"].mean == 0.0


def test_a_label_that_overtakes_its_prediction_is_held_against_it(served: Served) -> None:
    served.label(NOON, ("r",), ["yes"])
    served.recorder.take(served.queue.drain())
    served.predict(NOON, 1, ids=("r",))
    served.take()
    windows = served.recorder.store.read()
    assert sum(window.outcomes.rows for window in windows) == 1
    assert sum(window.traffic.unmatched for window in windows) == 0


def test_a_shadow_is_paired_with_the_champion(served: Served) -> None:
    names = served.predict(NOON, 50)
    served.predict(NOON, 50, arm="challenger", version="late@2", ids=names)
    served.label(NOON, names, ["yes"] * 50)
    served.take()
    found = {window.arm: window for window in served.recorder.store.read()}
    pairs = found["challenger"].outcomes.pairs["log_loss"]
    gap = (
        found["challenger"].outcomes.losses["log_loss"].mean
        - found["champion"].outcomes.losses["log_loss"].mean
    )
    assert pairs.n == 50
    assert pairs.mean == pytest.approx(gap)


def test_memory_is_bounded_by_what_is_remembered(served: Served) -> None:
    recorder = served.recorder
    recorder.remembered = 100
    for minute in range(5):
        served.predict(NOON + 60 * minute, 80)
    served.take()
    assert len(recorder._said) <= 100  # the size is what the test is about


def test_no_value_of_a_row_is_stored(served: Served) -> None:
    served.predict(NOON, 9, city="Jane Doe, 12 Elm Street")
    served.take()
    root = Path(served.recorder.store.url)
    texts = [str(MonitorStore(str(root.parent), "late").read()[0].state())]
    assert "Jane" not in texts[0]


def test_what_cannot_be_written_is_written_later(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(url: str, data: bytes) -> None:
        raise StorageError("is away", where=url)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", away)
        for minute in range(130):
            served.predict(NOON + 60 * minute, 2)
        served.take(NOON + 60 * 131)
    assert len(served.recorder._open) <= 8  # minutes were put together to hours
    served.take()
    assert sum(window.rows for window in served.recorder.store.read()) == 260


def test_a_thread_counts_what_comes_until_it_is_stopped(served: Served) -> None:
    served.recorder.every = 0.01
    served.recorder.start(served.queue)
    for _ in range(20):
        served.predict(NOON, 5)
    served.recorder.stop()
    assert sum(window.rows for window in served.recorder.store.read()) == 100


def test_an_unknown_version_is_looked_up_once_and_counted_anyway(grid: Grid, tmp_path: Path) -> None:
    asked = []

    def find(version: str) -> Grid:
        asked.append(version)
        if version == "late@9":
            raise InputError("there is no such version")
        return grid

    served = Served(Recorder(str(tmp_path), "late", find=find))
    for version in ("late@1", "late@1", "late@9"):
        served.predict(NOON, 5, version=version)
        served.take()
    windows = whole(served.recorder.store.read())
    assert asked == ["late@1", "late@9"]
    assert {window.version: (window.rows, bool(window.inputs)) for window in windows} == {
        "late": (0, False),
        "late@1": (10, True),
        "late@9": (5, False),
    }


def test_many_writers_lose_nothing(grid: Grid, tmp_path: Path) -> None:
    def write(seed: int) -> None:
        recorder = Recorder(str(tmp_path), "late")
        recorder.add("late@1", grid)
        one = Served(recorder, seed=1000 * seed)
        for minute in range(5):
            one.predict(NOON + 60 * minute, 3)
            one.take()

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _rows(MonitorStore(str(tmp_path), "late")) == [18] * 5


def _state(store: MonitorStore) -> list[dict[str, Any]]:
    held = [window.state() for window in whole(store.read())]
    for state in held:
        state.pop("start")
        state.pop("end")
        state["traffic"].pop("seconds")  # a sum of floats, in another order
    return held


def test_rolled_up_windows_say_the_same(served: Served) -> None:
    store = served.recorder.store
    day = NOON - NOON % 86_400
    for hour, minute in itertools.product((0, 1, 5), (0, 7, 59)):
        served.predict(day + HOUR * hour + 60 * minute, 4)
        served.take()
    before = _state(store)
    assert store.roll(now=day + 10 * HOUR, minutes_for=0) == 9
    assert _state(store) == before
    served.predict(day + 60, 4)  # comes late: it stands beside its hour
    served.take()
    late = _state(store)
    assert late[1]["rows"] == before[1]["rows"] + 4
    assert store.roll(now=day + 3 * 86_400, minutes_for=0, hours_for=0) > 0
    assert _state(store) == late
    assert {window.end - window.start for window in store.read()} == {86_400}
    assert store.roll(now=day + 3 * 86_400, minutes_for=0, hours_for=0) == 0
    store.remove_before(day + 86_400)
    assert store.read() == []


def test_a_crash_between_roll_up_and_deletion_counts_nothing_twice(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = served.recorder.store
    day = NOON - NOON % 86_400
    for minute in range(4):
        served.predict(day + 60 * minute, 4)
        served.take()
    before = _state(store)

    def crash(url: str) -> None:
        raise KeyboardInterrupt(url)

    for hours_for in (1e9, 0):
        with monkeypatch.context() as patch:
            patch.setattr(storage, "remove_file", crash)
            with pytest.raises(KeyboardInterrupt):
                store.roll(now=day + 3 * 86_400, minutes_for=0, hours_for=hours_for)
        assert _state(store) == before
    store.roll(now=day + 3 * 86_400, minutes_for=0, hours_for=0)
    assert _state(store) == before
    assert len(_rows(store)) == 1


def test_a_damaged_object_is_left_out_and_named(served: Served) -> None:
    served.predict(NOON, 4)
    served.take()
    served.predict(NOON + 60, 4)
    served.take()
    objects = sorted(Path(served.recorder.store.url).rglob("*.json.z"))
    content = bytearray(objects[0].read_bytes())
    content[-20] ^= 1
    objects[0].write_bytes(content)
    assert sum(window.rows for window in served.recorder.store.read()) == 4
    assert served.recorder.store.damaged == [str(objects[0])]


def test_a_store_in_memory_works_as_one_on_disk(grid: Grid) -> None:
    recorder = Recorder("memory://watched", "late")
    recorder.add("late@1", grid)
    served = Served(recorder)
    served.predict(NOON, 4)
    served.take()
    assert _rows(MonitorStore("memory://watched", "late")) == [4]


def test_a_name_cannot_leave_the_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        MonitorStore(str(tmp_path), "../late")


def test_windows_merge_in_any_order(served: Served) -> None:
    for minute in range(3):
        names = served.predict(NOON + 60 * minute, 20, shift=minute)
        served.label(NOON + 60 * minute, names, np.random.default_rng(minute).choice(["yes", "no"], 20))
        served.take()
    a, b, c = (window for window in served.recorder.store.read() if window.arm)
    left, right = a.merge(b).merge(c).state(), c.merge(a.merge(b)).state()
    for tallies in ("inputs", "scores"):
        for name in left[tallies]:
            assert left[tallies][name]["counts"] == right[tallies][name]["counts"]
    assert left["outcomes"]["ranks"] == right["outcomes"]["ranks"]
    assert Window.from_state(left).state() == left
