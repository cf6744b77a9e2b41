"""Every mistake in data or workflow is one line that names it, with the exit code of the contract; odd data just works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace import cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = 3_000


def frame(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"x": rng.normal(size=rows), "color": rng.choice(["red", "blue"], rows)})
    table["y"] = (table["x"] + rng.normal(size=rows) > 0).astype(int)
    return table


def write(path: Path, table: pd.DataFrame | pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(table, path, row_group_size=1_000)
    return path


def run(place: Path, **changes: Any) -> int:
    document: dict[str, Any] = {
        "problem": {"name": "toy", "task": "classification", "target": "y"},
        "data": {"url": "data"},
        "models": [{"name": "logistic", "estimator": "sklearn.linear_model.SGDClassifier"}],
        "train": {"epochs": 1},
        "evaluate": {"bootstrap": 20},
        **changes,
    }
    (place / "workflow.yaml").write_text(yaml.safe_dump(document))
    return cli.run(["run", "workflow.yaml", "--run", "run"])


def missing(_place: Path) -> None: ...


def empty_directory(place: Path) -> None:
    (place / "data").mkdir()


def not_parquet(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "a.parquet").write_text("x,y\n1,2\n")


def truncated(place: Path) -> None:
    path = write(place / "data" / "a.parquet", frame())
    path.write_bytes(path.read_bytes()[:-200])


def damaged_row_group(place: Path) -> None:
    path = write(place / "data" / "a.parquet", frame())
    content = bytearray(path.read_bytes())
    offset = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    content[offset : offset + 200] = b"\xff" * 200
    path.write_bytes(content)


def duplicate_columns(place: Path) -> None:
    values = pa.array(np.arange(10.0))
    write(place / "data" / "a.parquet", pa.Table.from_arrays([values, values, values], names=["x", "x", "y"]))


def different_types(place: Path) -> None:
    write(place / "data" / "a.parquet", frame())
    write(place / "data" / "b.parquet", frame().assign(x="text"))


def no_target(place: Path) -> None:
    write(place / "data" / "a.parquet", frame().drop(columns="y"))


def one_class(place: Path) -> None:
    write(place / "data" / "a.parquet", frame().assign(y=1))


def target_with_nulls(place: Path) -> None:
    table = frame()
    table["y"] = table["y"].astype("Int64").mask(np.arange(ROWS) < 7)
    write(place / "data" / "a.parquet", table)


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (missing, 2, ["data"]),
        (empty_directory, 2, ["data"]),
        (not_parquet, 2, ["a.parquet", "Parquet"]),
        (truncated, 2, ["a.parquet"]),
        (damaged_row_group, 2, ["a.parquet", "row group 1 is damaged"]),
        (duplicate_columns, 2, ["a.parquet", "'x'"]),
        (different_types, 2, ["b.parquet", "'x'"]),
        (no_target, 2, ["problem.target", "'y'"]),
        (one_class, 1, ["y"]),
        (target_with_nulls, 1, ["7 rows without a target"]),
    ],
)
def test_bad_data_is_told_in_one_line_and_nothing_is_published(
    make: Callable[[Path], None],
    code: int,
    words: list[str],
    in_tmp: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(in_tmp)
    assert run(in_tmp) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("headrace: ")
    assert [word for word in words if word not in last] == []
    assert not (in_tmp / "registry").exists()
    for path in in_tmp.rglob("*.tmp*"):
        pytest.fail(f"half-written {path}")
    if (in_tmp / "run").exists():
        assert json.loads((in_tmp / "run" / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"problm": {}}, ["problm", "problem"]),
        ({"train": {"epoch": 3}}, ["train.epoch", "epochs"]),
        ({"data": {"url": "data", "drop": ["colour"]}}, ["data.drop", "'color'"]),
        ({"prepare": {"columns": {"colour": "drop"}}}, ["color"]),
        ({"models": [{"name": "m", "estimator": "sklearn.svm.SVC"}]}, ["models[0]", "partial_fit"]),
        ({"train": {"epochs": 0}}, ["train.epochs"]),
    ],
)
def test_a_wrong_key_is_told_with_the_nearest_right_one(
    changes: dict[str, Any], words: list[str], in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(in_tmp / "data" / "a.parquet", frame())
    assert run(in_tmp, **changes) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert [word for word in words if word not in last] == []


def test_empty_files_among_good_ones_are_passed_over(in_tmp: Path) -> None:
    write(in_tmp / "data" / "a.parquet", frame())
    write(in_tmp / "data" / "b.parquet", frame().head(0))
    assert run(in_tmp) == 0


def test_a_column_without_values_is_left_out(in_tmp: Path) -> None:
    write(in_tmp / "data" / "a.parquet", frame().assign(nothing=pd.Series([None] * ROWS, dtype="Float64")))
    assert run(in_tmp) == 0
    notes = json.loads((in_tmp / "run" / "run.json").read_text())["notes"]
    assert any("nothing" in note for note in notes)


def test_names_with_spaces_unicode_and_quotes_are_names(in_tmp: Path) -> None:
    names = {"x": "a 'quoted' \"näme\"", "color": "Farbe <b>日本</b>", "y": "ja/nein?"}
    write(in_tmp / "data" / "a.parquet", frame().rename(columns=names))
    problem = {"name": "toy", "task": "classification", "target": names["y"]}
    assert run(in_tmp, problem=problem, evaluate={"bootstrap": 20, "slices": [names["color"]]}) == 0
    assert "<b>日本" not in (in_tmp / "run" / "report.html").read_text()
