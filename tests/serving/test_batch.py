"""Batch scoring: parity, rejected rows, kept columns, killed and resumed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.accumulators import merge_tree
from headrace.cli import run
from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.data.dataset import Dataset
from headrace.data.storage import list_names, read_bytes, write_bytes
from headrace.errors import PackageError
from headrace.packaging.model import load
from headrace.packaging.registry import Registry
from headrace.packaging.signing import new_key_pair
from headrace.scoring import score
from headrace.serving.batch import Part, Written

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.packaging.package import Package

INPUTS = ("size", "count", "flag", "city", "at")
THREADS = ClusterFile(workers=2, processes=False, memory=1 << 30)


def write_rows(place: Path, files: int = 3, rows: int = 300) -> pa.Table:
    tables = []
    place.mkdir()
    for number in range(files):
        rng = np.random.default_rng(100 + number)
        seconds = rng.integers(1_356_998_400, 1_388_534_400, rows)
        table = pa.table(
            {
                "id": pa.array(np.arange(rows) + number * rows),
                "size": pa.array(rng.normal(10, 2, rows), mask=rng.random(rows) < 0.1),
                "count": pa.array(rng.integers(0, 9, rows)),
                "flag": pa.array(rng.random(rows) < 0.3),
                "city": pa.array(rng.choice(["Oslo", "São Paulo", "b", "new"], rows)),
                "at": pa.array(seconds.astype("datetime64[s]").astype("datetime64[us]")),
            }
        )
        tables.append(table)
        pq.write_table(table, place / f"{number}.parquet", row_group_size=100)
    return pa.concat_tables(tables)


def read_scores(place: Path) -> pa.Table:
    files = sorted(place.glob("part-*.parquet"))
    return pa.concat_tables([pq.ParquetFile(file).read() for file in files])


@pytest.mark.parametrize("name", ["onnx", "plain"])
def test_scores_are_those_of_the_model(name: str, packages: dict[str, Package], tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data")
    url = packages[name].url
    manifest = score(url, str(tmp_path / "data"), str(tmp_path / "out"), columns=["id"], cluster=THREADS)
    scores = read_scores(tmp_path / "out").sort_by("id")
    model = load(url)
    expected = model.predict_proba(data.select(INPUTS))
    said = np.column_stack([scores["probability_no"].to_numpy(), scores["probability_yes"].to_numpy()])
    np.testing.assert_allclose(said, expected, rtol=0, atol=1e-9)
    assert scores["id"].to_pylist() == data["id"].to_pylist()
    assert scores["prediction"].to_pylist() == model.predict(data.select(INPUTS)).tolist()
    assert set(scores["model"].to_pylist()) == {name}
    assert manifest["rows"] == {"scored": 900, "rejected": 0}
    assert manifest["found"]["city: category"] == data["city"].to_pylist().count("new")
    for part in manifest["parts"]:
        content = (tmp_path / "out" / part["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == part["sha256"]
    # The folder is a dataset again, and its profile counts every row.
    assert Dataset(str(tmp_path / "out")).rows == 900
    profile = json.loads((tmp_path / "out" / "_profile.json").read_text())
    assert profile["rows"] == 900
    assert {"size", "city", "prediction", "probability_yes"} <= set(profile["columns"])


def test_the_monitor_takes_the_profile_that_is_written(
    packages: dict[str, Package], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "data")
    registry = str(tmp_path / "registry")
    Registry(registry).publish("late", packages["onnx"].url)
    score("late@1", str(tmp_path / "data"), str(tmp_path / "out"), registry=registry, cluster=THREADS)
    words = ["monitor", "ingest", "late@1", f"{tmp_path}/out/_profile.json", "--registry", registry]
    assert run([*words, "--store", str(tmp_path / "store"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["arm"], told["rows"]) == ("late@1", "batch", 900)
    assert {each["column"] for each in told["inputs"]} == set(INPUTS)
    (scores,) = told["scores"]
    assert scores["column"] == "yes"


def test_a_bad_value_costs_its_row_alone(packages: dict[str, Package], tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data", files=1)
    texts = [str(value) for value in data["count"].to_pylist()]
    texts[7], texts[250] = "many", "?"
    sizes = data["size"].to_pylist()
    sizes[9] = float("inf")
    flags: list[Any] = data["flag"].to_pylist()
    flags[7] = None
    for column, values in (("count", texts), ("size", sizes), ("flag", flags)):
        data = data.set_column(data.column_names.index(column), column, pa.array(values))
    pq.write_table(data, tmp_path / "data" / "0.parquet")
    manifest = score(
        packages["onnx"].url, str(tmp_path / "data"), str(tmp_path / "out"), columns=["id"], cluster=THREADS
    )
    assert manifest["rows"] == {"scored": 297, "rejected": 3}
    (file,) = (tmp_path / "out" / "_rejected").glob("*.parquet")
    rejected = {row["id"]: row for row in pq.ParquetFile(file).read().to_pylist()}
    assert {key: (row["file"], row["row"]) for key, row in rejected.items()} == {
        number: ("0.parquet", number) for number in (7, 9, 250)
    }
    assert "count: type" in rejected[7]["reasons"]
    assert "flag: missing" in rejected[7]["reasons"]
    assert rejected[9]["reasons"][0] == "size: finite"
    assert rejected[9]["size"] == float("inf")
    kept = set(read_scores(tmp_path / "out")["id"].to_pylist())
    assert kept == set(range(300)) - {7, 9, 250}


def test_a_wrong_schema_is_one_line(
    packages: dict[str, Package], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rows(tmp_path / "data", files=1)
    pq.write_table(data.drop_columns(["city"]), tmp_path / "data" / "0.parquet")
    assert run(["score", packages["onnx"].url, str(tmp_path / "data"), str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "city" in line
    assert not (tmp_path / "out").exists()


def test_where_keys_are_named_an_unsigned_model_scores_nothing(
    packages: dict[str, Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography", reason="needs the extra sign")
    new_key_pair(str(tmp_path / "key"))
    monkeypatch.setenv("HEADRACE_TRUSTED_KEYS", str(tmp_path / "key.pub"))
    with pytest.raises(PackageError, match="is not signed"):
        score(packages["onnx"].url, str(tmp_path), str(tmp_path / "out"), cluster=THREADS)


def test_a_feature_function_is_called_when_it_is_trusted_and_no_other(
    packages: dict[str, Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_columns.py").write_text("def same(frame):\n    return frame\n")
    write_rows(tmp_path / "data", files=1)
    changed = tmp_path / "changed"
    changed.mkdir()
    for name, content in packages["plain"].contents.items():
        (changed / name).write_bytes(content)
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["signature"]["features_function"] = "own_columns:same"
    (changed / "manifest.json").write_text(json.dumps(manifest))
    for features in (None, "subprocess:call"):
        with pytest.raises(PackageError, match="calls the function 'own_columns:same' of your machine"):
            score(str(changed), "data", "out", features=features, cluster=THREADS)
    done = score(str(changed), "data", "out", features="own_columns:same", cluster=THREADS)
    assert done["rows"]["scored"] == 300
    assert load(changed, features="own_columns:same").predict(write_rows(tmp_path / "more")).shape == (900,)


def test_a_folder_in_use_is_refused(packages: dict[str, Package], tmp_path: Path) -> None:
    write_rows(tmp_path / "data", files=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    assert run(["score", packages["onnx"].url, str(tmp_path / "data"), str(tmp_path / "out")]) == 2


KILLED = """
import sys, time
from headrace.cluster.config import ClusterFile
from headrace.data import chunks
from headrace.engine import ledger
from headrace.scoring import score
from headrace.serving import batch
chunks.SMALLEST = chunks.LARGEST = 4000
ledger.COMMIT_SECONDS = 0.0
ledger.COMMIT_SHARE = 1e9
before = batch.Scorer.__call__
def slow(self, table, chunk):
    time.sleep(0.25)
    return before(self, table, chunk)
batch.Scorer.__call__ = slow
processes = sys.argv[4] == "processes"
cluster = ClusterFile(workers=1, processes=processes, memory=512 << 20)
if __name__ == "__main__":
    score(*sys.argv[1:4], columns=["id"], cluster=cluster)
"""


def killed_on_its_way(url: str, data: str, out: str, kind: str) -> None:
    """Score until two chunks are written, then kill."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    # In a group of its own, so that its workers are killed with it.
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, url, data, out, kind], env=environment, start_new_session=True
    )
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        if sum(name.startswith("part-") for name in list_names(out)) >= 2:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "_manifest.json" not in list_names(out)


def test_killed_and_resumed_gives_the_same_bytes(
    packages: dict[str, Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SMALLEST", 4000)
    monkeypatch.setattr(chunks, "LARGEST", 4000)
    write_rows(tmp_path / "data", files=12, rows=50)
    url, data, out = packages["onnx"].url, str(tmp_path / "data"), tmp_path / "out"
    cluster = ClusterFile(workers=1, processes=False, memory=512 << 20)
    whole = score(url, data, str(tmp_path / "whole"), columns=["id"], cluster=cluster)
    killed_on_its_way(url, data, str(out), "threads")
    resumed = score(url, data, str(out), columns=["id"], cluster=cluster, resume=True)
    assert resumed == whole
    for part in whole["parts"]:
        assert (out / part["file"]).read_bytes() == (tmp_path / "whole" / part["file"]).read_bytes()
    assert sorted(read_scores(out)["id"].to_pylist()) == list(range(600))
    assert (out / "_profile.json").read_bytes() == (tmp_path / "whole" / "_profile.json").read_bytes()
    # Resumed once more, it is what it was.
    assert score(url, data, str(out), columns=["id"], cluster=cluster, resume=True) == whole


@pytest.mark.slow
def test_killed_and_resumed_on_an_object_store_with_worker_processes(
    s3: str, packages: dict[str, Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SMALLEST", 4000)
    monkeypatch.setattr(chunks, "LARGEST", 4000)
    write_rows(tmp_path / "data", files=12, rows=50)
    for file in (tmp_path / "data").iterdir():
        write_bytes(f"{s3}/data/{file.name}", file.read_bytes())
    Registry(f"{s3}/registry").publish("late", packages["onnx"].url)
    here = score(
        packages["onnx"].url, str(tmp_path / "data"), str(tmp_path / "out"), columns=["id"], cluster=THREADS
    )
    url, out = f"{s3}/registry/late/1", f"{s3}/out"
    killed_on_its_way(url, f"{s3}/data", out, "processes")
    cluster = ClusterFile(workers=1, memory=512 << 20)
    resumed = score(url, f"{s3}/data", out, columns=["id"], cluster=cluster, resume=True)
    assert resumed["rows"] == here["rows"] == {"scored": 600, "rejected": 0}
    parts = [pq.read_table(pa.BufferReader(read_bytes(f"{out}/{part['file']}"))) for part in resumed["parts"]]
    said = pa.concat_tables(parts).drop_columns(["model"])
    assert said.sort_by("id").equals(read_scores(tmp_path / "out").drop_columns(["model"]).sort_by("id"))
    assert {name for name in list_names(out) if name.startswith("part-")} == {
        part["file"] for part in resumed["parts"]
    }
    profile = json.loads(read_bytes(f"{out}/_profile.json"))
    assert profile["rows"] == 600


def test_the_command_scores_by_name(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "data", files=1)
    out = str(tmp_path / "out")
    command = ["score", "late@2", str(tmp_path / "data"), out, "--registry", registry, "--json"]
    assert run([*command, "--reject", "category"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"]["version"] == "late@2"
    assert document["rows"]["rejected"] == document["reasons"]["city: category"] > 0


def test_what_was_found_in_many_columns_is_told_in_one_line(
    packages: dict[str, Package],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_rows(tmp_path / "data", files=1)
    found = {f"x{number}: range": number for number in range(1, 301)}
    manifest = {
        "model": {"version": "late@2"},
        "rows": {"scored": 9, "rejected": 0},
        "reasons": {},
        "found": found,
    }
    monkeypatch.setattr("headrace.scoring.score", lambda *_given, **_settings: manifest)
    assert run(["score", packages["onnx"].url, str(tmp_path / "data"), str(tmp_path / "out")]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "scored all the same" in line]
    worst = "x300: range 300, x299: range 299, x298: range 298, x297: range 297"
    assert said == [f"  scored all the same  {worst} and 296 more in _manifest.json"]


counts = st.dictionaries(st.sampled_from(["a: range", "b: type"]), st.integers(0, 9))
written = st.builds(
    lambda number, reasons, found: Written((Part(f"part-{number}", number, 1, "x"),), reasons, found),
    st.integers(0, 99),
    counts,
    counts,
)


@given(st.lists(written, min_size=1, max_size=8), st.randoms())
def test_what_was_written_merges_in_any_order(states: list[Written], random: Any) -> None:
    expected = merge_tree(states, Written.merge)
    shuffled = [Written.from_state(json.loads(json.dumps(state.state()))) for state in states]
    random.shuffle(shuffled)
    assert merge_tree(shuffled, Written.merge).parts == expected.parts
    assert sum(merge_tree(shuffled, Written.merge).reasons.values()) == sum(
        sum(state.reasons.values()) for state in states
    )
