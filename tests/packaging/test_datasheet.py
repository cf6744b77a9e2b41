"""The data sheet: facts are those of the profile, questions stay open until somebody answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.cli import run
from headrace.packaging.datasheet import SECTIONS, DatasheetAnswers

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_every_question_is_in_one_section() -> None:
    asked = [key for keys in SECTIONS.values() for key in keys]
    assert sorted(asked) == sorted(DatasheetAnswers.model_fields)


def test_the_sheet_says_what_was_measured_and_what_was_said(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pa.table(
        {
            "town": ["Ulm"] * 30 + ["Bonn"] * 20 + ["<b>Au|</b>"] * 12 + ["Hamlet"] * 2,
            "email": pa.array([None] * 4 + ["-"] * 60),
            "x": [float(i) for i in range(64)],
        }
    )
    pq.write_table(table, in_tmp / "data.parquet")
    (in_tmp / "answers.yaml").write_text("purpose: to find out\nconsent: <script>asked</script>\n")
    assert run(["datasheet", "data.parquet", "--answers", "answers.yaml", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["open"] == document["asked"] - 2
    assert document["personal"] == {"email": "its name"}
    page = (in_tmp / "datasheet.md").read_text()
    assert "64 rows, 3 columns" in page
    assert "| email | string | 6.2% |" in page
    assert "| x | double | 0.0% | 64 | 0 | 63 |" in page
    assert "Ulm, Bonn" in page
    assert "Hamlet" not in page
    assert "<script>" not in page
    assert "<b>" not in page
    assert page.count("*Not answered.*") == document["open"]
    (in_tmp / "answers.yaml").write_text("purpos: to find out\n")
    assert run(["datasheet", "data.parquet", "--answers", "answers.yaml"]) == 2
    assert "purpos" in capsys.readouterr().err
