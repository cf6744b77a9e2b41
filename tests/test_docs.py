"""What the pages say can be done: their Python runs, their YAML is read, their commands and options exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import yaml

import headrace as hr
from headrace.cli import run as run_command
from headrace.cluster.arrays import read_members
from headrace.cluster.config import KINDS, ClusterFile
from headrace.data.samples import write_sample
from headrace.monitoring.options import MonitorFile
from headrace.workflow import WorkflowFile, load_workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not {"reference", "benchmarks"} & set(page.relative_to(ROOT).parts)]
NOT_RUN = "<!-- not run:"
SMALL = {"train": {"epochs": 1}, "evaluate": {"bootstrap": 20}}


def blocks(page: Path, language: str) -> list[str]:
    found = re.finditer(
        rf"(?P<before>[^\n]*\n)```{language}\n(?P<code>.*?)\n```", page.read_text(), re.DOTALL
    )
    return [match["code"] for match in found if not match["before"].startswith(NOT_RUN)]


def pages_with(language: str) -> list[Any]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if blocks(page, language)]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as the pages expect it: thinned flights in data/, the example in examples/, and its run."""
    place = tmp_path_factory.mktemp("workshop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_sample("flights", "all")
        for file in Path("all").rglob("*.parquet"):
            thin = Path("data/flights") / file.relative_to("all")
            thin.parent.mkdir(parents=True)
            table = pq.ParquetFile(file).read()
            pq.write_table(table.take(list(range(0, table.num_rows, 20))), thin)
        example = yaml.safe_load((ROOT / "examples/flights/workflow.yaml").read_text())
        example["problem"]["success"] = [{"metric": "roc_auc", "at_least": 0.5}]
        workflow = Path("examples/flights/workflow.yaml")
        workflow.parent.mkdir(parents=True)
        workflow.write_text(yaml.safe_dump({**example, **SMALL}))
        cluster = ClusterFile(workers=2, processes=False, memory=1 << 30)
        result = hr.Workflow.load(str(workflow)).run(cluster=cluster, run_dir="runs/demo")
        assert result.passed
    return place


@pytest.fixture
def at_work(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workshop)
    monkeypatch.syspath_prepend(str(workshop))
    return workshop


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_of_a_page_runs_from_top_to_bottom(page: Path, at_work: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for number, code in enumerate(blocks(page, "python"), 1):
        exec(compile(code, f"{page.name} block {number}", "exec"), names)


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_yaml_of_a_page_is_read(page: Path, tmp_path: Path) -> None:
    workflow = (ROOT / "examples/flights/workflow.yaml").read_text()
    whole = yaml.safe_load(workflow)
    for text in blocks(page, "yaml"):
        part = yaml.safe_load(text)
        if isinstance(part, list) or any("." in key for key in part):
            (tmp_path / "each.yaml").write_text(text)
            assert read_members(str(tmp_path / "each.yaml"), workflow, name="workflow.yaml")
        elif "kind" in part:
            KINDS[part["kind"]].model_validate(part)
        elif "sinks" in part:
            MonitorFile.model_validate(part)
        else:
            WorkflowFile.model_validate({**whole, **part})


def commands(page: Path) -> Iterator[list[str]]:
    for text in blocks(page, "console"):
        for line in text.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0] == "headrace":
                yield words[1:]


@pytest.mark.parametrize("page", pages_with("console"))
def test_commands_of_a_page_exist_with_their_options(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(page):
        names = words[:2] if words[0] in {"models", "jobs", "cluster", "monitor", "audit"} else words[:1]
        assert run_command([*names, "--help"]) == 0, names
        text = capsys.readouterr().out
        for option in (word.partition("=")[0] for word in words if word.startswith("-")):
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text), (names, option)


@pytest.mark.parametrize("page", pages_with("console"))
def test_files_that_commands_of_a_page_are_given_are_there(page: Path) -> None:
    for words in commands(page):
        for word in words:
            if word.startswith(("examples/", "cluster/")):
                assert (ROOT / word).exists(), word


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("*/workflow.yaml")), ids=lambda path: path.parent.name
)
def test_example_is_read(path: Path) -> None:
    load_workflow(str(path))
