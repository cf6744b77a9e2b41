from __future__ import annotations

import codecs
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headrace.cli import run
from headrace.ingesting.options import IngestFile

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "howto" / "ingest.md"


@pytest.fixture
def in_examples(in_tmp: Path) -> Path:
    shutil.copytree(ROOT / "examples", in_tmp / "examples")
    return in_tmp


def test_messy_files_come_in_are_checked_and_run_without_code(
    in_examples: Path, capsys: pytest.CaptureFixture[str]
):
    raw = {path.stem[-4:]: path.read_bytes() for path in Path("examples/messy").glob("*.csv")}
    assert "Zürich".encode("latin-1") in raw["2024"]
    assert raw["2025"].startswith(codecs.BOM_UTF8)
    for text in (
        b',"1,',
        b"\nsecond floor",
        b'""call first""',
        b"/11/",
        b" Apr ",
        b"-04-",
        b",far,",
        b",NA,",
    ):
        assert all(text in data for data in raw.values()), text
    assert run(["ingest", "examples/messy/ingest.yaml"]) == 0
    assert "1,183 rows" in capsys.readouterr().out
    assert_clean(Path("data/deliveries"))
    assert run(["check", "--workflow", "examples/messy/workflow.yaml"]) == 0
    small = yaml.safe_load(Path("examples/messy/workflow.yaml").read_text())
    small |= {"evaluate": {"bootstrap": 20}}
    Path("workflow.yaml").write_text(yaml.safe_dump(small))
    assert run(["run", "workflow.yaml", "--run", "runs/messy"]) == 0
    assert Path("runs/messy/model/manifest.json").exists()


def assert_clean(place: Path) -> None:
    """What was messy is typed, and what could not be is in quarantine with its reason."""
    table = pa.concat_tables([pq.read_table(path) for path in place.glob("*.parquet")])
    assert {field.name: str(field.type) for field in table.schema} == {
        "city": "string", "ordered": "date32[day]", "amount": "double", "km": "double", "kg": "double",
        "comment": "string", "late": "bool",
    }  # fmt: skip
    rows = table.to_pylist()
    assert {row["city"] for row in rows} == {"Basel", "Bern", "Genève", "Köniz", "Neuchâtel", "Zürich"}
    assert {row["ordered"].year for row in rows} == {2024, 2025}
    assert max(row["amount"] for row in rows) > 1000
    assert {"ring twice,\nsecond floor", 'customer said "call first"', "Größe XL", None} <= {
        row["comment"] for row in rows
    }
    assert any(row["kg"] is None for row in rows)
    bad = [
        row for path in (place / "_ingest/quarantine").glob("*") for row in pq.read_table(path).to_pylist()
    ]
    assert len(bad) == 17
    assert {re.sub(r"\d{4}'", "", row["reason"]) for row in bad} == {
        "5 fields, 8 expected",
        "amount: 'on request' is not a number",
        "km: double: invalid value 'far'",
        "ordered: '30/02/ is not a date",
    }
    for row in bad:
        lines = (Path("examples/messy") / Path(row["source"]).name).read_bytes().splitlines()
        start = row["raw"].split(",")[0].encode() + b","
        assert any(line.startswith(start) for line in lines[row["line"] - 1 : row["line"] + 1])


@pytest.mark.parametrize(
    "text", re.findall(r"<!-- not run: an ingest file -->\n```yaml\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
)
def test_ingest_files_of_the_page_are_read(text: str):
    IngestFile.model_validate(yaml.safe_load(text))
