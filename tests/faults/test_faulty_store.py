"""A store that answers 503, resets, stalls and breaks off: the run ends with the same model, or stops and goes on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.faults.test_lost_workers import make
from tests.faulty import Faults, before

from headrace.cluster.config import ClusterFile
from headrace.data import chunks, retrying
from headrace.data.dataset import Dataset
from headrace.data.reading import read_chunk
from headrace.data.storage import create, join, read_bytes, read_json, write_bytes
from headrace.engine import ledger
from headrace.errors import DataError, StorageError
from headrace.packaging.registry import Registry
from headrace.runs import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faulty import Proxy
    from tests.servers import Store

THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)
# Names of requests are drawn anew: of 200 requests none is reset once in 3,500 runs, at 2 % it was once in 60.
SOME = Faults(busy=0.05, throttled=0.01, reset=0.04, lost=0.04, stalled=0.01, truncated=0.04)
MANY = Faults(busy=0.15, throttled=0.05, reset=0.05, lost=0.05, stalled=0.02, truncated=0.08)
HASTY = {"config_kwargs": {"read_timeout": 1.0, "connect_timeout": 1.0, "retries": {"max_attempts": 0}}}
"""So that stalls of ten seconds and lost stores cost less."""


@contextmanager
def through(server: Store, faults: Faults, *, seed: int = 0) -> Iterator[Proxy]:
    """Reach the store by way of a faulty proxy."""
    kind = fsspec.get_filesystem_class("s3")
    port = int(server.environment["AWS_ENDPOINT_URL"].rpartition(":")[2])
    with before(port, faults, seed=seed) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        patch.setitem(fsspec.config.conf, "s3", HASTY)
        patch.setattr(kind, "retries", 2)  # of s3fs, which multiply: so that the patience of headrace is seen
        kind.clear_instance_cache()
        yield proxy
    kind.clear_instance_cache()


@pytest.fixture
def workflow(s3: str, in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A workflow whose data and registry are on S3, as `w.yaml` here; the URL of their folder."""
    make(in_tmp)
    fsspec.filesystem("s3").put("data", f"{s3}/data", recursive=True)
    text = (in_tmp / "w.yaml").read_text().replace("url: data", f"url: {s3}/data")
    (in_tmp / "w.yaml").write_text(f"{text}publish: {{registry: '{s3}/registry'}}\n")
    monkeypatch.setattr(chunks, "LARGEST", 10_000)
    monkeypatch.setattr(ledger, "COMMIT_SECONDS", 0.0)
    return s3


@pytest.mark.parametrize(
    ("faults", "seed"), [(SOME, 0), *(pytest.param(MANY, seed, marks=pytest.mark.slow) for seed in range(4))]
)
def test_a_run_through_a_faulty_store_gives_the_same_model(
    faults: Faults, seed: int, s3_server: Store, workflow: str
) -> None:
    whole = Workflow.load("w.yaml").run(THREADS, "whole").run
    with through(s3_server, faults, seed=seed) as proxy:
        run = Workflow.load("w.yaml").run(THREADS, join(workflow, "run")).run
    assert run["model_sha256"] == whole["model_sha256"]
    assert {"busy", "reset", "lost", "truncated"} <= proxy.done.keys()
    assert read_json(join(workflow, "run", "run.json"))["status"] == "passed"
    registry = Registry(join(workflow, "registry"))
    assert registry.versions("toy") == [1, 2]  # whose answer was lost is not published twice
    assert len(registry.alias_history("toy")) == 1


@pytest.mark.slow
def test_a_run_whose_store_is_lost_stops_in_one_line_and_goes_on(
    s3_server: Store, workflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "PATIENCE", 0.5)
    run = join(workflow, "run")
    whole = Workflow.load("w.yaml").run(THREADS, "whole").run
    with through(s3_server, Faults()) as proxy:
        proxy.ends_at = "run/ledger/00000004.json"
        with pytest.raises(
            StorageError, match=r"the store does not answer .*goes on with --resume"
        ) as caught:
            Workflow.load("w.yaml").run(THREADS, run)
        assert "\n" not in str(caught.value)
        proxy.ended, proxy.ends_at = False, ""
        resumed = Workflow.resume(run, THREADS).run
    assert resumed["model_sha256"] == whole["model_sha256"]
    assert resumed["resumed"] == 1


@pytest.mark.parametrize(
    "fault",
    ["lost", *(pytest.param(name, marks=pytest.mark.slow) for name in ("truncated", "busy", "reset"))],
)
def test_who_creates_a_file_and_loses_the_answer_has_created_it(
    fault: str, s3_server: Store, s3: str
) -> None:
    with through(s3_server, Faults(**{fault: 0.5}), seed=1) as proxy:
        assert all(create(join(s3, "locks", str(number)), b"mine") for number in range(6))
        assert not create(join(s3, "locks", "0"), b"other")
    assert proxy.done[fault]
    assert read_bytes(join(s3, "locks", "0")) == b"mine"


def test_a_ledger_that_cannot_be_read_now_is_not_taken_as_damaged(
    s3_server: Store, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "PATIENCE", 0.0)
    held = ledger.Ledger(join(s3, "ledger"))
    for number in range(3):
        held.append("fact", {"number": number})
    with through(s3_server, Faults()) as proxy:
        proxy.ends_at = "00000002.json"
        with pytest.raises(StorageError, match="the store does not answer"):
            ledger.Ledger(join(s3, "ledger"))
    again = ledger.Ledger(join(s3, "ledger"))
    assert again.notes == []
    assert again.state.facts["fact"].body == {"number": 2}


@pytest.mark.parametrize("store", ["local", "s3", "gcs"])
def test_a_file_that_changes_under_a_run_is_named(
    store: str, in_tmp: Path, request: pytest.FixtureRequest
) -> None:
    place = str(in_tmp / "there") if store == "local" else request.getfixturevalue(store)
    contents = []
    for value in (1, 2):
        pq.write_table(pa.table({"x": [value] * 100}), "a.parquet")
        contents.append((in_tmp / "a.parquet").read_bytes())
    assert len(contents[0]) == len(contents[1])
    url = join(place, "a.parquet")
    write_bytes(url, contents[0])
    dataset = Dataset(place)
    chunk = dataset.chunks[0]
    assert read_chunk(chunk, dataset.schema, ["x"], dictionary=True).column("x")[0].as_py() == 1
    write_bytes(url, contents[1])
    with pytest.raises(DataError, match=r"a\.parquet: has changed since its footer was read; start again"):
        read_chunk(chunk, dataset.schema, ["x"], dictionary=True)
    write_bytes(url, b"PAR1 and something else")
    with pytest.raises(DataError, match=r"a\.parquet: has changed since its footer was read; start again"):
        read_chunk(chunk, dataset.schema, ["x"], dictionary=True)
