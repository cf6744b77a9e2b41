"""The documents say what the code is: map, names, sizes, twins."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
MODULES = sorted(SOURCE.rglob("*.py"))
KNOWN = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for path in MODULES
}
MOST_LINES = 400
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

TESTED_THROUGH = {
    "__main__.py": "cli/test_main.py",
    "accumulators/documents.py": "profiling/test_profile.py",
    "accumulators/loops.py": "accumulators/test_native.py",
    "accumulators/probabilities.py": "accumulators/test_metrics_binary.py",
    "calibrating.py": "test_where.py",
    "cli/audit.py": "data/test_audit.py",
    "cli/clusters.py": "cluster/test_standing.py",
    "cli/doctor.py": "data/test_access.py",
    "cli/erase.py": "test_erasing.py",
    "cli/jobs.py": "cluster/test_jobs.py",
    "cli/models.py": "cli/test_main.py",
    "cli/monitor.py": "monitoring/test_page.py",
    "cli/output.py": "cli/test_main.py",
    "cli/references.py": "cli/test_promotion.py",
    "cli/score.py": "serving/test_batch.py",
    "cli/serve.py": "serving/test_server.py",
    "cli/signing.py": "packaging/test_signing.py",
    "cli/tables.py": "cli/test_main.py",
    "cli/watched.py": "monitoring/test_page.py",
    "cluster/certificates.py": "cluster/test_address.py",
    "cluster/coordinator.py": "cluster/test_jobs.py",
    "cluster/detached.py": "cluster/test_standing.py",
    "cluster/joining.py": "cluster/test_address.py",
    "cluster/workers.py": "cluster/test_config.py",
    "data/durations.py": "data/test_history.py",
    "data/features.py": "test_docs.py",
    "data/files.py": "data/test_dataset.py",
    "data/filters.py": "test_where.py",
    "data/localfiles.py": "data/test_storage.py",
    "data/matching.py": "test_where.py",
    "data/parquetfiles.py": "data/test_remote.py",
    "data/partitions.py": "data/test_dataset.py",
    "data/rewriting.py": "test_erasing.py",
    "data/unified.py": "data/test_dataset.py",
    "engine/commits.py": "engine/test_passes.py",
    "engine/memory.py": "engine/test_passes.py",
    "evaluation/slices.py": "evaluation/test_assess.py",
    "evaluation/tasks.py": "evaluation/test_assess.py",
    "evaluation/testing.py": "test_runs.py",
    "exploring.py": "test_docs.py",
    "ingesting/batches.py": "ingesting/test_files.py",
    "ingesting/bundled.py": "ingesting/test_web.py",
    "ingesting/publishing.py": "ingesting/test_collection.py",
    "ingesting/quarantine.py": "ingesting/test_collection.py",
    "ingesting/rest.py": "ingesting/test_web.py",
    "ingesting/sources.py": "ingesting/test_collection.py",
    "ingesting/writing.py": "ingesting/test_collection.py",
    "opening.py": "test_runs.py",
    "outright.py": "training/test_direct.py",
    "packaging/exports/boosted.py": "packaging/exports/test_exports.py",
    "packaging/exports/estimators.py": "packaging/exports/test_exports.py",
    "packaging/exports/graph.py": "packaging/exports/test_exports.py",
    "packaging/exports/pmml_answers.py": "packaging/exports/test_pmml_file.py",
    "packaging/exports/pmml_elements.py": "packaging/exports/test_pmml_file.py",
    "packaging/exports/pmml_evaluator.py": "packaging/exports/test_pmml_file.py",
    "packaging/exports/pmml_features.py": "packaging/exports/test_pmml_file.py",
    "packaging/exports/splits.py": "packaging/exports/test_thresholds.py",
    "packaging/exports/steps.py": "packaging/exports/test_exports.py",
    "packaging/exports/times.py": "packaging/exports/test_exports.py",
    "preparation/blocks.py": "preparation/test_compiled.py",
    "preparation/columns.py": "preparation/test_compiled.py",
    "preparation/composition.py": "preparation/test_together.py",
    "preparation/datetimes.py": "preparation/test_times.py",
    "preparation/encoders.py": "preparation/test_encodings.py",
    "preparation/finders.py": "preparation/test_encodings.py",
    "preparation/general.py": "preparation/test_curves.py",
    "preparation/loops.py": "preparation/test_native.py",
    "preparation/native_columns.py": "preparation/test_native.py",
    "preparation/needs.py": "preparation/test_arithmetic.py",
    "preparation/parted.py": "preparation/test_encodings.py",
    "preparation/plans.py": "preparation/test_fitted.py",
    "preparation/reading.py": "preparation/test_compiled.py",
    "preparation/recipes.py": "preparation/test_curves.py",
    "preparation/reducers.py": "preparation/test_together.py",
    "preparation/regular.py": "preparation/test_native.py",
    "preparation/rules.py": "preparation/test_curves.py",
    "preparation/steps.py": "preparation/test_curves.py",
    "preparation/witness.py": "preparation/test_fitted.py",
    "preparation/writers.py": "preparation/test_native.py",
    "preparation/writing.py": "preparation/test_compiled.py",
    "preparing.py": "preparation/test_runs_prepared.py",
    "problem.py": "test_workflow.py",
    "profiling/comparison.py": "report/test_comparison.py",
    "profiling/components.py": "profiling/test_exploration.py",
    "profiling/declared.py": "profiling/test_checks.py",
    "profiling/difference.py": "profiling/test_checks.py",
    "profiling/explorers.py": "profiling/test_exploration.py",
    "profiling/glance.py": "profiling/test_profile.py",
    "profiling/measure.py": "test_runs.py",
    "profiling/outliers.py": "profiling/test_exploration.py",
    "profiling/pairs.py": "profiling/test_exploration.py",
    "profiling/quality.py": "profiling/test_checks.py",
    "profiling/rules.py": "profiling/test_findings.py",
    "report/alerts.py": "report/test_report.py",
    "report/evaluation.py": "report/test_report.py",
    "report/facts.py": "report/test_report.py",
    "report/matrices.py": "report/test_exploration.py",
    "report/numbers.py": "report/test_report.py",
    "report/pages.py": "report/test_report.py",
    "report/pairs.py": "report/test_exploration.py",
    "report/shown.py": "report/test_exploration.py",
    "report/tables.py": "report/test_report.py",
    "report/trends.py": "report/test_exploration.py",
    "rundir.py": "test_runs.py",
    "scaffold.py": "cli/test_data.py",
    "selecting.py": "training/test_folds.py",
    "serving/answers.py": "serving/test_app.py",
    "serving/bodies.py": "serving/test_attacks.py",
    "serving/examples.py": "serving/test_app.py",
    "serving/feedback.py": "serving/test_app.py",
    "serving/guard.py": "serving/test_predictor.py",
    "serving/latency.py": "cli/test_promotion.py",
    "serving/limits.py": "serving/test_attacks.py",
    "serving/live.py": "serving/test_page_in_browser.py",
    "serving/logs.py": "serving/test_app.py",
    "serving/metrics.py": "serving/test_app.py",
    "serving/openapi.py": "serving/test_app.py",
    "serving/page.py": "serving/test_page_in_browser.py",
    "stages.py": "test_runs.py",
    "training/dask_models.py": "training/test_dask_solving.py",
    "training/exact_rows.py": "training/test_exact.py",
    "training/lastfit.py": "training/test_folds.py",
    "training/leaderboard.py": "training/test_folds.py",
    "training/validation.py": "training/test_folds.py",
}
"""Parts of a larger whole, with the test file that tests them through it. Options are tested by reading them."""


def relative(path: Path) -> str:
    return path.relative_to(SOURCE / "headrace").as_posix()


def load_generator() -> Any:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_generate"] = module
    spec.loader.exec_module(module)
    return module


def test_map_is_what_the_docstrings_say() -> None:
    page = ARCHITECTURE.read_text()
    assert page == load_generator().with_map(page), "run: make docs (or python docs/generate.py)"


def test_map_names_every_module_once() -> None:
    listed = [name for _, names in load_generator().sections() for name in names]
    assert sorted([*listed, "headrace"]) == sorted(load_generator().modules())


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_says_in_one_line_what_it_is(path: Path) -> None:
    documentation = ast.get_docstring(ast.parse(path.read_text()))
    assert documentation
    first = documentation.splitlines()[0]
    assert 15 <= len(first) <= 130


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_is_short_enough_to_be_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES, "it has found its next split"


def dotted_names() -> list[str]:
    pages = [ARCHITECTURE, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    pages += sorted((ROOT / "docs" / "decisions").glob("*.md"))
    found = (re.findall(r"`(headrace(?:\.\w+)+)`", page.read_text()) for page in pages)
    return sorted({name for names in found for name in names} - {"headrace.__main__"})


@pytest.mark.parametrize("name", dotted_names())
def test_name_in_the_documents_exists(name: str) -> None:
    parts = name.split(".")
    modules = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    module = next(module for module in modules if module in KNOWN)
    value: Any = importlib.import_module(module)
    for part in parts[module.count(".") + 1 :]:
        value = getattr(value, part)


def test_every_module_is_tested_by_its_twin_or_by_name() -> None:
    tests = {path.relative_to(ROOT / "tests").as_posix(): path.read_text() for path in TESTS}
    missing = []
    for path in MODULES:
        name = relative(path)
        if path.name in {"__init__.py", "options.py"} or name in TESTED_THROUGH:
            continue
        twin = (Path(name).parent / f"test_{path.name}").as_posix()
        dotted = "headrace." + name.removesuffix(".py").replace("/", ".")
        imported = re.compile(rf"(from|import) {re.escape(dotted)}\b")
        if twin not in tests and not any(imported.search(text) for text in tests.values()):
            missing.append(name)
    assert not missing, "write these tests, or say in TESTED_THROUGH where they are tested"


def test_list_of_what_is_tested_through_something_else_is_true() -> None:
    assert not [name for name in TESTED_THROUGH if not (SOURCE / "headrace" / name).exists()]
    assert not [test for test in TESTED_THROUGH.values() if not (ROOT / "tests" / test).exists()]


def test_relative_links_of_the_pages_lead_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            where = "" if "://" in target or (page.parent / target).exists() else page.relative_to(ROOT)
            broken += [f"{where}: {target}"] if where else []
    assert not broken
