"""The audit log: many writers, one chain; every change shows."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.cli import run
from headrace.data import audit, storage
from headrace.data.storage import join, list_names, read_bytes, write_bytes
from headrace.errors import StorageError, UnansweredError

if TYPE_CHECKING:
    from pathlib import Path

WRITERS = 16


def write_three(url: str) -> list[int]:
    return [audit.append(url, "scored", f"late@{number}") for number in range(3)]


def test_sixteen_threads_and_four_processes_write_one_chain(tmp_path: Path) -> None:
    url = str(tmp_path / "audit")
    with ThreadPoolExecutor(WRITERS) as pool:
        numbers = [number for made in pool.map(write_three, [url] * WRITERS) for number in made]
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as processes:
        numbers += [number for made in processes.map(write_three, [url] * 4) for number in made]
    assert sorted(numbers) == list(range(1, 3 * (WRITERS + 4) + 1))
    records, _, broken = audit.verify(url)
    assert (records, broken) == (len(numbers), None)


@pytest.mark.parametrize("store", ["s3", "gcs"])
def test_stores_have_one_winner_too(store: str, request: pytest.FixtureRequest) -> None:
    url = join(request.getfixturevalue(store), "audit")
    with (
        ThreadPoolExecutor(WRITERS) as pool,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes,
    ):
        others = processes.map(write_three, [url] * 2)
        numbers = list(pool.map(lambda _: audit.append(url, "scored", "late@1"), range(WRITERS)))
        numbers += [number for made in others for number in made]
    assert sorted(numbers) == list(range(1, WRITERS + 2 * 3 + 1))
    assert audit.verify(url)[::2] == (len(numbers), None)


@settings(max_examples=40)
@given(st.integers(2, 6), st.data())
def test_every_change_is_found_where_it_is(count: int, data: st.DataObject) -> None:
    url = f"memory://audit-{uuid.uuid4()}"
    for number in range(count):
        audit.append(url, "promoted", f"late@{number}", why="better")
    _, head, broken = audit.verify(url)
    assert broken is None
    places = [join(url, name) for name in list_names(url)]
    kept = [read_bytes(place) for place in places]
    at = data.draw(st.integers(0, count - 1))
    change = data.draw(st.sampled_from(["edit", "forge", "delete", "swap", "garbage"]))
    if change == "edit":
        write_bytes(places[at], kept[at].replace(b"better", b"forced"))
    elif change == "forge":  # with a hash that fits, so that the next record tells
        document = json.loads(kept[at])
        document.pop("sha256")
        document["who"] = {"user": "somebody"}
        write_bytes(places[at], audit._line({**document, "sha256": audit._hash(document)}))
    elif change == "delete":
        from headrace.data.storage import remove_tree

        remove_tree(places[at])
    elif change == "swap":
        other = (at + 1) % count
        write_bytes(places[at], kept[other])
        write_bytes(places[other], kept[at])
        at = min(at, other)
    else:
        write_bytes(places[at], b"{}")
    if at == count - 1 and change in {"delete", "forge"}:  # which only the head tells
        broken = audit.verify(url, head)[2]
        assert broken is not None
        return
    broken = audit.verify(url)[2]
    assert broken is not None
    assert broken.number == at + (2 if change == "forge" else 1)


def test_who_is_written_down_as_far_as_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(tmp_path / "audit")
    audit.record("trained", "nowhere")
    monkeypatch.setenv(audit.PLACE, url)
    monkeypatch.setenv(audit.USER, "clerk-7")
    audit.record("trained", "late@1", rows=3)
    monkeypatch.setenv(audit.HOST, "1")
    audit.record("promoted", "late@1")
    first, second = audit.read_records(url)
    assert first["who"] == {"user": "clerk-7"}
    assert set(second["who"]) == {"user", "host"}
    assert run(["audit", "show", url, "--action", "trained", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["records"]
    assert shown["detail"] == {"rows": 3}
    assert run(["audit", "show", url]) == 0
    assert "clerk-7" in capsys.readouterr().out
    assert run(["audit", "verify", url]) == 0
    assert "2 records, unbroken" in capsys.readouterr().out
    write_bytes(
        join(url, "00000001.json"), read_bytes(join(url, "00000001.json")).replace(b"clerk-7", b"clerk-8")
    )
    assert run(["audit", "verify", url, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["broken"]["number"] == 1
    assert run(["audit", "verify", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"no JSON", "is no record: it was edited"),
        (b"[" * 100_000, "is no record: it was edited"),
        (b'{"number": NaN}', "is no record: it was edited"),
        (b'{"subject": "\\ud800"}', "is no record: it was edited"),
        (b"[]", "is no record, without number, at, who, action, subject, detail, sha256: it was edited"),
        (
            b'{"number": 2, "at": "now", "who": "me", "subject": "late", "detail": {}, "sha256": ""}',
            "is no record, without who, action: it was edited",
        ),
    ],
    ids=["text", "deep", "not a number", "no text", "a list", "parts"],
)
def test_what_is_no_record_is_told_in_one_line_with_its_file(
    content: bytes, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(tmp_path / "audit")
    write_three(url)
    write_bytes(join(url, "00000002.json"), content)
    assert run(["audit", "verify", url]) == 1
    assert capsys.readouterr().out == f"record 2 {what}\n"
    for command in (["show", url], ["show", url, "--action", "scored", "--json"]):
        assert run(["audit", *command]) == 1
        told = capsys.readouterr()
        assert told.err.strip() == f"headrace: {join(url, '00000002.json')}: {what}"
        assert not told.out


def test_a_record_that_cannot_be_read_is_no_broken_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(tmp_path / "audit")
    write_three(url)
    second = join(url, "00000002.json")

    def away(place: str) -> bytes:
        if place == second:
            raise UnansweredError("the store does not answer", where=place)
        return read_bytes(place)

    monkeypatch.setattr(storage, "read_bytes", away)
    assert run(["audit", "verify", url, "--json"]) == 1
    told = capsys.readouterr()
    assert f"{second}: the store does not answer" in told.out + told.err
    assert "edited" not in told.out + told.err


def test_no_log_where_two_could_win() -> None:
    with pytest.raises(StorageError, match="two writers"):
        audit.append("ftp://host/audit", "trained", "late@1")
