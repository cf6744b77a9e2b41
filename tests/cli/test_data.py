from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.profiling.profile import Profile

Run = Callable[..., Any]


def test_profile_prints_tables_writes_the_profile_and_a_page(shell: Any):
    done = shell("profile", "data", "--target", "bought", "--html", "page.html")
    assert (done.code, done.err.count("\n")) == (0, 1)
    assert done.err.startswith("profile: 3,000 rows, ")
    assert "data: 3,000 rows, 6 columns; bought: " in done.out
    assert "Zürich" in done.out
    assert "█" in done.out
    assert "percentiles ±" in done.out
    profile = Profile.from_json((shell.directory / "profile.json").read_text())
    assert profile.rows == 3000
    assert set(profile.classes) == {"0", "1"}
    assert (shell.directory / "page.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert sorted(path.name for path in shell.directory.iterdir()) == ["data", "page.html", "profile.json"]


def test_profile_as_json_is_one_document_that_is_the_profile(inside: Run):
    code, out, _ = inside("profile", "data", "--json", "-o", "p.json")
    assert code == 0
    assert Profile.from_dict(json.loads(out)).rows == 3000
    assert out == Path("p.json").read_text() + "\n"


def test_a_terminal_without_block_characters_gets_plain_ones(shell: Any):
    done = shell("profile", "data", PYTHONIOENCODING="ascii:replace", PYTHONUTF8="0")
    assert done.code == 0
    assert "+-" in done.out
    assert done.out.isascii()


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["profile", "data", "--target", "bough"], 2, "did you mean 'bought'?"),
        (["profile", "empty"], 2, "empty"),
        (
            ["profile", "data", "--cluster", "c.yaml"],
            2,
            "c.yaml line 1: wrkers: unknown key; did you mean workers?",
        ),
        (["check", "data", "--against", "none.json"], 2, "none.json: no such file"),
        (["check", "data", "--against", "c.yaml"], 1, "c.yaml"),
        (["check", "data", "--against", "list.json"], 2, "list.json: is not a profile"),
        (["check", "data", "--against", "a", "--workflow", "b"], 2, "give one of them"),
        (["init", "data", "--target", "nope"], 2, "nope"),
        (["init", "data", "--target", "when", "-o", "w.yaml"], 2, "cannot be predicted"),
        (["init", "data", "--target", "bought", "-o", "c.yaml"], 2, "c.yaml: exists already"),
        (["sample", "nothing", "out"], 2, "nothing"),
    ],
)
def test_wrong_input_is_one_line(inside: Run, arguments: list[str], code: int, line: str):
    Path("empty").mkdir()
    Path("c.yaml").write_text("wrkers: 2\n")
    Path("list.json").write_text("[]")
    before = sorted(Path().iterdir())
    got, out, err = inside(*arguments)
    said = [text for text in err.splitlines() if text.startswith("headrace: ")]
    assert (got, out, len(said)) == (code, "", 1)
    assert line in said[0]
    assert sorted(Path().iterdir()) == before


def test_check_of_sound_data_passes_and_tells_what_warns(inside: Run):
    code, out, _ = inside("check", "data", "--target", "bought", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["status"] == "warn"
    assert [check["column"] for check in report["checks"] if check["status"] == "warn"] == ["user"]


def test_check_against_a_profile_passes_for_the_same_source_and_fails_for_another(
    inside: Run, make_table: Any, write_table: Any
):
    write_table(Path("same"), make_table(seed=1).drop_columns(["bought"]))
    write_table(Path("moved"), make_table(seed=1, shift=2.0))
    assert inside("profile", "data", "--target", "bought")[0] == 0
    code, out, _ = inside("check", "same", "--against", "profile.json")
    assert (code, out.rstrip().splitlines()[-1].split(",")[0]) == (0, "0 failed")
    code, out, _ = inside("check", "moved", "--against", "profile.json", "--json")
    failed = {
        (check["name"], check["column"]) for check in json.loads(out)["checks"] if check["status"] == "fail"
    }
    assert code == 1
    assert ("drift", "x") in failed


def test_compare_shows_two_datasets_side_by_side_and_writes_a_page(
    inside: Run, make_table: Any, write_table: Any
):
    other = make_table(seed=1, shift=1.0).drop_columns(["user"]).append_column("new", pa.array([1] * 3000))
    write_table(Path("other"), other)
    code, out, err = inside("compare", "data", "other", "--html", "both.html")
    assert code == 0
    assert "A: 3,000 rows, B: 3,000 rows, page: both.html" in out
    assert err.count("3,000 rows") == 2
    page = Path("both.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert all(name in out and name in page for name in ("user", "new", "gap"))
    assert inside("profile", "data", "--json")[0] == 0
    code, out, err = inside("compare", "profile.json", "other", "--json")
    document = json.loads(out)
    assert (code, err.count("3,000 rows")) == (0, 1)
    columns = {column["column"]: column for column in document["columns"]}
    assert [columns[name]["state"] for name in ("user", "new")] == ["only in A", "only in B"]
    assert (columns["x"]["drift"], columns["x"]["mean"]) == ("fail", pytest.approx([0.0, 1.0], abs=0.1))
    assert inside("compare", "data", "none")[0] == 2
    code, _, err = inside("compare", "data", "none.json")
    assert (code, "none.json: no such file" in err) == (2, True)


def test_check_with_a_workflow_holds_its_expectations(inside: Run):
    Path("w.yaml").write_text(
        "problem: {name: b, task: classification, target: bought}\n"
        "data: {url: data}\n"
        "checks: {expect: {x: {minimum: 0}}}\n"
    )
    code, out, _ = inside("check", "--workflow", "w.yaml")
    assert code == 1
    assert "1 failed" in out
    assert "x: range" in out


@pytest.mark.parametrize("target", ["bought", "gap_filled", 'Stadt / "city"'])
def test_init_writes_a_workflow_that_loads_and_whose_checks_pass(
    inside: Run, target: str, make_table: Any, write_table: Any
):
    from headrace.workflow import load_workflow

    table = make_table()
    table = table.append_column("gap_filled", pa.array(np.nan_to_num(table["gap"].to_numpy())))
    write_table(Path("more"), table)
    code, out, err = inside("init", "more", "--target", target, "-o", "made.yaml")
    assert code == 0, err
    assert "headrace run made.yaml" in out
    workflow = load_workflow("made.yaml")
    assert workflow.problem.target == target
    assert workflow.problem.task == ("regression" if target == "gap_filled" else "classification")
    assert workflow.data.time == "when"
    assert workflow.data.split.kind == "time"
    assert "user" in workflow.data.drop
    assert workflow.checks.expect["x"].max_missing == 0.0
    assert inside("check", "--workflow", "made.yaml")[0] == 0


def test_sample_writes_a_dataset_and_says_what_comes_next(inside: Run):
    code, out, _ = inside("sample", "clicks", "clicks", "--rows", "2000", "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["name"], document["rows"], document["target"]) == ("clicks", 2000, "click")
    assert inside("sample", "clicks", "clicks", "--rows", "2000")[0] == 2
    code, out, _ = inside("sample", "clicks", "again", "--rows", "2000")
    assert out.splitlines()[-1] == "next: headrace profile again --target click"


def test_schema_is_one_json_document(inside: Run):
    code, out, _ = inside("schema")
    assert code == 0
    assert json.loads(out)["title"] == "headrace workflow"
