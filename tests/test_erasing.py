"""Erasure: what is left is what a filter in memory leaves; ended anywhere it goes on; the model is that of the rest."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from headrace import erasing
from headrace.cli import run
from headrace.data import audit, rewriting, storage
from headrace.data.dataset import Dataset
from headrace.erasing import erase, find, read_keys
from headrace.errors import DataError, InputError

FILES, ROWS, GROUP = 4, 400, 100


def parts() -> list[pa.Table]:
    rng = np.random.default_rng(5)
    made = []
    for number in range(FILES):
        x = rng.normal(size=ROWS)
        who = np.sort(rng.integers(number * 50, number * 50 + 60, ROWS))
        made.append(
            pa.table(
                {
                    "who": pa.array(who),
                    "code": pa.array([f"c{each}" for each in who]).dictionary_encode(),
                    "x": x,
                    "z": rng.normal(size=ROWS),
                    "y": 2 * x + rng.normal(size=ROWS),
                    "tags": pa.array([[1, 2]] * ROWS),
                }
            )
        )
    return made


def write(place: Path, tables: list[pa.Table]) -> str:
    place.mkdir(parents=True)
    for number, table in enumerate(tables):
        pq.write_table(table, place / f"{number}.parquet", row_group_size=GROUP, compression="zstd")
    return str(place)


def without(tables: list[pa.Table], who: list[int]) -> list[pa.Table]:
    return [table.filter(pc.invert(pc.is_in(table["who"], pa.array(who)))) for table in tables]


@pytest.mark.parametrize(("column", "keys"), [("who", ["55", "3"]), ("code", ["c55", "c3"])])
def test_what_is_left_is_what_a_filter_leaves(column: str, keys: list[str], tmp_path: Path) -> None:
    tables = parts()
    url = write(tmp_path / "data", tables)
    untouched = (tmp_path / "data" / "3.parquet").read_bytes()
    dataset = Dataset(url)
    found = find(dataset, column, keys)
    expected = without(tables, [3, 55])
    assert found.rows == sum(table.num_rows for table in tables) - sum(table.num_rows for table in expected)
    assert len(found.files) == 2
    if column == "who":  # sorted, so that statistics tell
        assert found.looked_at < found.row_groups / 2
    told = erase(dataset, column, keys)
    assert told["rows"] == found.rows
    assert told["fingerprint"] != told["fingerprint_before"] == dataset.fingerprint
    for number, table in enumerate(expected):
        file = pq.ParquetFile(tmp_path / "data" / f"{number}.parquet")
        assert file.read().equals(table)
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        assert file.metadata.num_row_groups == ROWS // GROUP
    assert (tmp_path / "data" / "3.parquet").read_bytes() == untouched
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        f"{i}.parquet" for i in range(FILES)
    ]
    assert find(Dataset(url), column, keys).rows == 0


def test_ended_anywhere_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = write(tmp_path / "data", parts())
    before = Dataset(url).fingerprint
    written = rewriting.rewrite
    calls = iter(range(100))

    def fail_at_the_second(*arguments: Any, **named: Any) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt
        written(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "rewrite", fail_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            erase(Dataset(url), "who", ["55"])
    assert "55" not in (tmp_path / "data" / erasing.JOURNAL).read_text().partition('"files"')[0].split('"')
    with pytest.raises(InputError, match="an erasure of other keys was ended before its time"):
        erase(Dataset(url), "who", ["3"])
    assert find(Dataset(url), "who", ["55"]).rows > 0
    assert Dataset(url).rows < FILES * ROWS  # a whole dataset at any moment
    (tmp_path / "data" / f"{rewriting.ASIDE}left").mkdir()  # as of a process that was killed
    told = erase(Dataset(url), "who", ["55"])
    assert told["fingerprint_before"] == before
    assert told["rows"] == FILES * ROWS - Dataset(url).rows
    assert len(told["files"]) == 2
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        f"{i}.parquet" for i in range(FILES)
    ]


def test_rows_that_come_back_and_files_that_change_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = write(tmp_path / "data", parts())
    before = {path: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    (tmp_path / "data" / "0.parquet").chmod(0o640)
    rewritten = rewriting.rewrite

    def put_back(path: str, *arguments: Any, **named: Any) -> None:
        rewritten(path, *arguments, **named)
        assert Path(path).stat().st_mode & 0o777 in {0o640, 0o644}
        Path(path).write_bytes(before[Path(path)])

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "rewrite", put_back)
        with pytest.raises(DataError, match="came back while they were erased"):
            erase(Dataset(url), "who", ["55"])
    copied = rewriting._copy

    def touched(file: Any, *arguments: Any, **named: Any) -> int:
        (tmp_path / "data" / "0.parquet").touch()
        return copied(file, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(rewriting, "_copy", touched)
        with pytest.raises(DataError, match="was changed"):
            erase(Dataset(url), "who", ["55"])
    assert {path: path.read_bytes() for path in before} == before
    assert erase(Dataset(url), "who", ["55"])["files"] == ["0.parquet", "1.parquet"]


def test_objects_are_rewritten_too() -> None:
    tables = parts()
    for number, table in enumerate(tables):
        buffer = io.BytesIO()
        pq.write_table(table, buffer, row_group_size=GROUP)
        storage.write_bytes(f"memory://erasing/{number}.parquet", buffer.getvalue())
    told = erase(Dataset("memory://erasing"), "code", ["c55"])
    assert told["files"] == ["0.parquet", "1.parquet"]
    left = Dataset("memory://erasing").to_dask(["code"]).compute(scheduler="threads")["code"].tolist()
    assert left == pa.concat_tables(without(tables, [55]))["code"].to_pylist()


def test_partitions_and_bad_keys(tmp_path: Path) -> None:
    tables = [table.drop_columns(["who"]) for table in parts()]
    for who, table in enumerate(tables):
        write(tmp_path / "data" / f"who={who}", [table])
    dataset = Dataset(str(tmp_path / "data"))
    with pytest.raises(InputError, match="is no whole number"):
        find(dataset, "who", ["you"])
    with pytest.raises(InputError, match="is no whole number that it can hold"):
        find(dataset, "who", [str(10**30)])
    with pytest.raises(InputError, match="keys are text or whole numbers"):
        find(dataset, "x", ["1"])
    with pytest.raises(InputError, match="no key is given"):
        find(dataset, "who", [])
    assert find(dataset, "who", ["9"]).looked_at == 0
    erase(dataset, "who", ["2"])
    assert Dataset(str(tmp_path / "data")).rows == (FILES - 1) * ROWS


def test_keys_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes("Zoë".encode("latin-1"))
    with pytest.raises(InputError, match="keys: is not UTF-8; write the keys as UTF-8 text, one a line"):
        read_keys(str(tmp_path / "keys"))


def test_the_command_erases_names_models_and_trains_on_what_is_left(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(audit.PLACE, "audit")
    tables = parts()
    write(in_tmp / "data", tables)
    write(in_tmp / "rest", without(tables, [55]))

    def flow(url: str, name: str) -> str:
        document: dict[str, Any] = {
            "problem": {"name": name, "objective": "y", "task": "regression", "target": "y"},
            "data": {"url": url, "drop": ["tags", "who", "code"]},
            "models": [{"name": "ridge", "estimator": "sklearn.linear_model.Ridge"}],
            "checks": {"on_fail": "warn"},
        }
        (in_tmp / f"{name}.yaml").write_text(yaml.safe_dump(document))
        return f"{name}.yaml"

    (in_tmp / "cluster.yaml").write_text("kind: laptop\nworkers: 2\nprocesses: false\nmemory: 1GiB\n")
    here = ["--cluster", "cluster.yaml"]
    assert run(["run", flow("data", "amount"), *here]) == 0
    erased = ["erase", "--column", "who", "--key", "55", "--workflow", "amount.yaml", *here, "--json"]
    kept = {path: path.read_bytes() for path in (in_tmp / "data").iterdir()}
    capsys.readouterr()
    assert run(erased) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["erased"] is False
    assert document["models"] == [{"model": "amount@1", "certain": True, "aliases": ["champion"]}]
    assert {path: path.read_bytes() for path in (in_tmp / "data").iterdir()} == kept
    (in_tmp / "who.txt").write_text("55\n")
    erased[3:5] = ["--keys", "who.txt"]
    assert run([*erased, "--yes"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["models"] == [{"model": "amount@1", "certain": True, "aliases": ["champion"]}]
    assert document["run"]["model"] == "amount@2"
    assert run(["run", flow("rest", "rest"), *here, "--json"]) == 0
    scratch = json.loads(capsys.readouterr().out)
    assert document["run"]["model_sha256"] == scratch["model_sha256"]
    actions = [each["action"] for each in audit.read_records("audit")]
    assert actions[:3] == ["published", "moved", "trained"]
    assert "erased" in actions
    assert audit.verify("audit")[2] is None
    (noted,) = [each["detail"] for each in audit.read_records("audit") if each["action"] == "erased"]
    assert noted["keys"] == 1
    assert document["rows"] == noted["rows"]
