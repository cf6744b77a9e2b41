"""Replay: the longest good run of records counts; a damaged one costs what follows it and nothing before it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.data.storage import join, list_names, read_bytes, remove_tree, write_bytes
from headrace.engine.ledger import CLOSED, PROGRESS, Ledger, Payload, chain, decode, encode

if TYPE_CHECKING:
    from pathlib import Path


def filled(url: str, commits: int = 5) -> Ledger:
    ledger = Ledger(url, interval=0.0)
    for position in range(1, commits + 1):
        body = {"position": position, "done": False}
        ledger.append(
            PROGRESS, body, {"state": b"state %d" % position, "kept": b"kept %d" % position}, key="epoch 1"
        )
    return ledger


def position(ledger: Ledger) -> int:
    known = ledger.state.passes.get("epoch 1")
    return known.body["position"] if known else 0


@pytest.mark.parametrize("scheme", ["local", "memory"])
def test_what_was_appended_is_read_by_the_next_process(scheme: str, tmp_path: Path) -> None:
    url = str(tmp_path / "ledger") if scheme == "local" else "memory://ledger-appended"
    first = filled(url)
    first.append("epoch", {"epoch": 1}, {"learner": b"weights"})
    again = Ledger(url)
    assert again.state == first.state
    assert again.notes == []
    known = again.state.passes["epoch 1"]
    assert again.read(known.state["state"]) == b"state 5"
    assert [again.read(payload) for payload in known.kept] == [b"kept %d" % i for i in range(1, 6)]
    assert again.cost["commits"] == 5
    assert Ledger(url).state == first.state
    remove_tree(url)


def test_payloads_that_nobody_needs_are_removed_and_the_last_two_states_stay(tmp_path: Path) -> None:
    ledger = filled(str(tmp_path))
    held = {read_bytes(str(path)) for path in tmp_path.glob("*.bin")}
    assert held == {b"state 4", b"state 5", *(b"kept %d" % i for i in range(1, 6))}
    ledger.append("epoch", {"epoch": 1}, frees=["epoch 1"])
    ledger.append("note", {})
    assert ledger.state.passes["epoch 1"].state == {}
    assert {read_bytes(str(path)) for path in tmp_path.glob("*.bin")} == {b"kept %d" % i for i in range(1, 6)}
    ledger.append(CLOSED, {})
    assert not list(tmp_path.glob("*.bin"))
    assert Ledger(str(tmp_path)).state.passes == {}


def flip(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def halve(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [flip, halve, None])
@pytest.mark.parametrize(
    ("victim", "left"),
    [
        ("00000005.json", 4),
        ("00000003.json", 0),  # the states of 1 and 2 are gone already: the pass begins anew
        ("00000001.json", 0),
        (Payload.of(b"state 5").object, 4),
        (Payload.of(b"kept 5").object, 4),
        (Payload.of(b"kept 2").object, 0),
    ],
)
def test_damage_costs_the_work_since_the_last_good_record(
    victim: str, left: int, damage: object, tmp_path: Path
) -> None:
    url = str(tmp_path)
    filled(url)
    content = read_bytes(join(url, victim))
    remove_tree(join(url, victim))
    if callable(damage):
        write_bytes(join(url, victim), damage(content))
    ledger = Ledger(url)
    assert position(ledger) == left
    missing_at_the_end = damage is None and victim == "00000005.json"
    assert bool(ledger.notes) is not missing_at_the_end
    # What did not count is gone, and the chain goes on.
    ledger.append(PROGRESS, {"position": 9, "done": True}, {"state": b"anew"}, key="epoch 1")
    again = Ledger(url)
    assert position(again) == 9
    assert again.notes == []


def test_commits_are_due_by_time_and_by_what_they_cost(tmp_path: Path) -> None:
    assert not Ledger(str(tmp_path), interval=60.0).due()
    ledger = Ledger(str(tmp_path), interval=1e-9, share=0.01)
    assert ledger.due()
    ledger.append("fact", {}, spent=5.0)
    assert not ledger.due()
    assert ledger.cost["seconds"] >= 5.0


def test_a_run_that_was_taken_over_commits_nothing(tmp_path: Path) -> None:
    def refuse() -> None:
        raise RuntimeError("taken over")

    with pytest.raises(RuntimeError, match="taken over"):
        Ledger(str(tmp_path), guard=refuse).append("fact", {}, {"a": b"b"})
    assert list_names(str(tmp_path)) == []


@given(st.data())
def test_no_change_of_a_record_goes_unnoticed(data: st.DataObject) -> None:
    from headrace.engine.ledger import START, Record

    record = Record(1, START, PROGRESS, "profile", {"position": 3}, {"state": Payload.of(b"x")}, ("a",))
    content = encode(record)
    read = decode(content)
    assert read is not None
    assert (read.body, read.payloads, read.frees) == (record.body, record.payloads, record.frees)
    place = data.draw(st.integers(0, len(content) - 2))
    changed = (
        content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 127))]) + content[place + 1 :]
    )
    found = decode(changed)
    assert found is None or found == read
    assert chain([content, content]) == [read]
    assert decode(json.dumps([]).encode()) is None
