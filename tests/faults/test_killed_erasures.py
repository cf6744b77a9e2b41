"""An erasure that is killed at any step leaves every file whole, old or new, and the next one completes it."""

from __future__ import annotations

import io
import os
import signal
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from headrace.data import audit, storage
from headrace.data.dataset import Dataset
from headrace.erasing import JOURNAL, erase

if TYPE_CHECKING:
    from collections.abc import Callable

WHO = ["7", "11"]


def tables() -> list[pa.Table]:
    rng = np.random.default_rng(0)
    return [pa.table({"who": rng.integers(0, 20, 300), "x": rng.normal(size=300)}) for _ in range(2)]


def without(table: pa.Table) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["who"], pa.array([int(who) for who in WHO]))))


def erase_until(url: str, environment: dict[str, str], last: int) -> None:
    """Erase in a process that is killed before or after its step number `last`."""
    os.environ.update(environment)
    from headrace import erasing
    from headrace.data import rewriting

    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1
        if taken == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            step()
            found = function(*arguments, **named)
            step()
            return found

        return wrapped

    for module, name in (
        (erasing, "write_json"), (erasing, "rewrite"), (erasing, "remove_file"), (rewriting, "_copy"),
        (rewriting, "ask"), (rewriting, "make_durable"), (audit, "record"),
    ):  # fmt: skip
        setattr(module, name, around(getattr(module, name)))
    erase(Dataset(url), "who", WHO)


@pytest.mark.parametrize(
    "place", ["disk", *(pytest.param(store, marks=pytest.mark.slow) for store in ("s3", "gcs"))]
)
def test_killed_at_any_step_files_are_whole_and_the_next_completes(
    place: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = storage.join(str(request.getfixturevalue("tmp_path" if place == "disk" else place)), "data")
    monkeypatch.setenv(audit.PLACE, url + "-audit")
    old = tables()
    new = [without(table) for table in old]
    context = get_context("forkserver")
    context.set_forkserver_preload(["headrace.erasing", __name__])
    gone = sum(was.num_rows - now.num_rows for was, now in zip(old, new, strict=True))
    ended, step = False, 1
    while not ended:
        for number, table in enumerate(old):
            written = io.BytesIO()
            pq.write_table(table, written, row_group_size=100)
            storage.write_bytes(storage.join(url, f"{number}.parquet"), written.getvalue())
        before = Dataset(url).fingerprint
        process = context.Process(target=erase_until, args=(url, dict(os.environ), step))
        process.start()
        process.join()
        ended = process.exitcode == 0
        assert ended or process.exitcode == -signal.SIGKILL
        for number, (was, now) in enumerate(zip(old, new, strict=True)):
            content = storage.read_bytes(storage.join(url, f"{number}.parquet"))
            held = pq.read_table(pa.BufferReader(content))
            assert held.equals(now) or (not ended and held.equals(was))
        begun = storage.exists(storage.join(url, JOURNAL))
        told = erase(Dataset(url), "who", WHO)
        assert told["rows"] == gone or not begun
        assert told["fingerprint_before"] == before or not begun
        assert storage.list_names(url) == [f"{number}.parquet" for number in range(len(old))]
        for number, now in enumerate(new):
            content = storage.read_bytes(storage.join(url, f"{number}.parquet"))
            assert pq.read_table(pa.BufferReader(content)).equals(now)
        step += 1 if place == "disk" else 3  # a process more takes longer than what it does
    assert step > 2 * 8
    assert audit.verify(url + "-audit")[2] is None
