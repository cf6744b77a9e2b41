from __future__ import annotations

import re
import shutil
from pathlib import Path

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
    assert run(["ingest", "examples/messy/ingest.yaml"]) == 0
    assert "1,183 rows" in capsys.readouterr().out
    assert run(["check", "--workflow", "examples/messy/workflow.yaml"]) == 0
    small = yaml.safe_load(Path("examples/messy/workflow.yaml").read_text())
    small |= {"evaluate": {"bootstrap": 20}}
    Path("workflow.yaml").write_text(yaml.safe_dump(small))
    assert run(["run", "workflow.yaml", "--run", "runs/messy"]) == 0
    assert Path("runs/messy/model/manifest.json").exists()


@pytest.mark.parametrize(
    "text", re.findall(r"<!-- not run: an ingest file -->\n```yaml\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
)
def test_ingest_files_of_the_page_are_read(text: str):
    IngestFile.model_validate(yaml.safe_load(text))
