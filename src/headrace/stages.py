"""The stages as the spine calls them: a workflow's options turned into the arguments of each, its product written down."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.data.embeddings import making
from headrace.data.storage import exists, join, read_bytes, read_json, remove_tree, write_bytes
from headrace.engine.events import Note
from headrace.engine.memory import peak_resident_bytes
from headrace.engine.past import gather_past
from headrace.errors import ChecksFailedError, InputError, PackageError, RunError, StorageError
from headrace.opening import data_facts, finders_of_run
from headrace.packaging.exports.files import exports_of
from headrace.packaging.fingerprint import model_digest
from headrace.packaging.package import MANIFEST, VERSION, read_package, sha256, write_package
from headrace.packaging.registry import CHAMPION, Registry
from headrace.packaging.scores import SCORES, scores_file
from headrace.packaging.signature import InputColumn, Signature
from headrace.preparation.fitted import build_transformer
from headrace.profiling.checks import check_profile
from headrace.profiling.exploration import Exploration
from headrace.profiling.folds import part_rows, training_profile
from headrace.profiling.measure import measure
from headrace.profiling.profile import compact
from headrace.profiling.provenance import read_provenance
from headrace.profiling.withholding import withhold
from headrace.profiling.writing import profile_lines
from headrace.report import render_report
from headrace.serving.prepared import candidates, write_preparation
from headrace.training.candidates import BASELINE, capabilities, in_double
from headrace.training.leaderboard import leaderboard
from headrace.training.scoring import SELECTED_BY

GATED_ROWS = 500
"""Test rows that exports meet beside those that are drawn from the profile."""

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sklearn.pipeline import Pipeline

    from headrace.data.embeddings import Embedding
    from headrace.data.history import History
    from headrace.engine.passes import Reader
    from headrace.evaluation.assess import Assessment
    from headrace.evaluation.testrows import HeldOutRows
    from headrace.opening import Opened
    from headrace.packaging.package import Manifest
    from headrace.preparation.fitted import Preparation
    from headrace.profiling.profile import ColumnProfile, Profile
    from headrace.profiling.survey import Survey
    from headrace.rundir import RunDirectory
    from headrace.training.blocks import Target
    from headrace.training.board import Training
    from headrace.workflow import WorkflowFile


def look_back(opened: Opened, reader: Reader) -> Opened:
    """Learn what came before each chunk, in a pass of its own, where columns are made from the rows before."""
    history = opened.profiled.history
    if opened.looked_back is None or history is None:
        return opened
    past = gather_past(reader, opened.looked_back, history)
    profiled, trained, tested = (
        replace(source, past=past) for source in (opened.profiled, opened.trained, opened.tested)
    )
    # Not even a very wide table is cut where columns are made from the rows before: its slab is the source.
    slabs = tuple(replace(slab, source=profiled) for slab in opened.slabs)
    return replace(opened, profiled=profiled, trained=trained, tested=tested, slabs=slabs)


def look(workflow: WorkflowFile, opened: Opened, reader: Reader, run: RunDirectory) -> Survey:
    """Measure every part of the split, in one pass unless there are very many columns, and find what checks, preparation and report ask for beside it."""
    finders, explorers = finders_of_run(workflow, opened)
    survey = measure(
        reader,
        opened.profiled,
        target=workflow.problem.target,
        splitter=opened.splitter,
        finders=finders,
        slabs=opened.slabs,
        detail=opened.detail,
        remembered=workflow.data.remembered,
        native=opened.native,
    )
    run.products["exploration"] = Exploration.of(survey.findings, explorers)
    if workflow.pii is None:
        return survey
    counted = training_profile(survey.profiles, opened.splitter)
    told = withhold(survey.profiles, counted, workflow.pii.k_minimum, but=workflow.problem.target)
    return replace(survey, profiles=told)


def check(workflow: WorkflowFile, opened: Opened, survey: Survey, whole: Profile, run: RunDirectory) -> None:
    """Check the whole profile, and that each part of the split has rows.

    Raises
    ------
    ChecksFailedError
        When a check fails and the workflow says to stop.
    RunError
        When a part that the run needs is empty.
    """
    problem, data = workflow.problem, workflow.data
    report = check_profile(
        whole,
        workflow.checks,
        target=problem.target,
        task=problem.task,
        time=data.time,
        ignore=set(opened.profiled.schema.names) - set(opened.features),
        findings=survey.findings,
        provenance=read_provenance(opened.dataset.url),
    )
    run.write("checks", report.to_dict())
    if report.status == "fail" and workflow.checks.on_fail == "stop":
        raise ChecksFailedError(
            report.summary(), where=data.url, mend="mend the data, or set checks.on_fail: warn"
        )
    for part, rows in part_rows(survey.profiles, opened.splitter).items():
        if rows == 0:
            folded = "fold" in part
            raise RunError(
                f"no row is in the {part} part",
                where="validation" if folded else "data.split",
                mend="use fewer folds, or others"
                if folded
                else "move test_from"
                if data.split.kind == "time"
                else "raise its share",
            )


def require_same(reader: Reader, preparation: Preparation) -> None:
    """Refuse to go on with training on features that are not those it began with.

    Raises
    ------
    RunError
        When the preparation differs, as another version of headrace may make it.
    """
    if reader.ledger is None:
        return
    known = reader.ledger.state.facts.get("prepared")
    if known is None:
        reader.ledger.append("prepared", {"digest": preparation.digest})
    elif known.body["digest"] != preparation.digest:
        raise RunError(
            "the features are not those that the run began with",
            where="prepare",
            mend="go on with the versions that run.json names, or begin a new run",
        )


def deciding(workflow: WorkflowFile) -> str | None:
    """Name the metric that decides between candidates: the first success criterion, if it can be scored in training."""
    scored = {*SELECTED_BY.values(), "average_precision", "brier", "accuracy", "mae", "r2"}
    wanted = [criterion.metric for criterion in workflow.problem.success]
    return wanted[0] if wanted and wanted[0] in scored else None


def judge(
    workflow: WorkflowFile, training: Training, assessments: Mapping[str, Assessment], run: RunDirectory
) -> bool:
    """Write the leaderboard and the metrics, and hold the best candidate against the success criteria."""
    best, dummy = assessments["best"], assessments.get(BASELINE)
    board = leaderboard(training)
    if dummy is not None:
        estimates = {name: estimate.value for name, estimate in dummy.metrics.items()}
        for row in board["rows"]:
            if row["candidate"] == BASELINE:
                row["test"] = estimates
    run.write("leaderboard", board)
    run.write("metrics", {**best.to_dict(), "baseline": dummy.to_dict() if dummy else None})
    criteria = []
    for criterion in workflow.problem.success:
        estimate = best.metrics.get(criterion.metric)
        value = None if estimate is None else estimate.value
        met = value is not None and criterion.holds(value)
        criteria.append({**criterion.model_dump(exclude_none=True), "value": value, "met": met})
    run.record["success"] = criteria
    run.record["best"] = {
        "candidate": training.best.candidate.name,
        "estimator": training.best.candidate.estimator,
        "epoch": training.best.best_epoch,
        "metric": training.metric,
        "folds": len(training.best.folds),
        "fitted_to": training.fitted_to,
        "validation": training.best.scores,
        "nested": board["nested"],
        "metrics": {name: estimate.to_dict() for name, estimate in best.metrics.items()},
    }
    return all(criterion["met"] for criterion in criteria)


def package(
    workflow: WorkflowFile,
    opened: Opened,
    preparation: Preparation,
    target: Target,
    training: Training,
    profile: Profile,
    tested: HeldOutRows,
    passed: bool,
    run: RunDirectory,
) -> Manifest:
    """Write the package of the best candidate into the run's directory; its exports also meet real test rows."""
    from sklearn.pipeline import Pipeline

    problem = workflow.problem
    estimator = in_double(training.best.estimator)
    transformer = build_transformer(preparation, dense=not capabilities(estimator).sparse)
    pipeline = Pipeline([("prepare", transformer), ("model", estimator)])
    signature = Signature(
        inputs=tuple(_input(profile.columns[name]) for name in preparation.features_in),
        task=problem.task,
        target=target.name,
        classes=target.classes,
        features_function=workflow.features.function if workflow.features else None,
        history=_history(workflow, preparation),
        embeddings=_embeddings(workflow, opened, preparation),
        pii=opened.treatments_of(preparation.features_in),
        threshold=training.threshold,
    )
    place = join(run.url, "model")
    stored = compact(profile, opened.stored)
    further = candidates(pipeline, write_preparation(preparation))
    exports = exports_of(pipeline, signature, stored, tested.raw.first(GATED_ROWS), further)
    scored = {} if problem.task == "clustering" else {SCORES: scores_file(tested.result())}
    note(run, exports.notes)
    manifest = _packaged(place, pipeline) or write_package(
        place,
        pipeline=pipeline,
        signature=signature,
        profile=b"".join(profile_lines(stored)),
        metrics=run.documents["metrics"],
        provenance={
            "data": run.record["data"],
            "versions": run.record["versions"],
            "seed": workflow.seed,
            "workflow_sha256": hashlib.sha256(run.documents["workflow_text"].encode()).hexdigest(),
            "preparation": preparation.digest,
        },
        card={
            **problem.model_dump(mode="json", exclude={"task", "target"}),
            "metric": training.metric,
            "verdict": "meets its success criteria" if passed else "misses its success criteria",
            "training": {
                "candidate": training.best.candidate.name,
                "estimator": training.best.candidate.estimator,
                "epoch": training.best.best_epoch,
                "rows": profile.rows,
            },
            "data": data_facts(workflow, opened),
            "run": run.url,
        },
        exports={**exports.files, **scored},
        gates=exports.gates,
    )
    run.record["model_sha256"] = manifest.model_sha256
    return manifest


def _history(workflow: WorkflowFile, preparation: Preparation) -> History | None:
    """Say which of the columns that the model takes are made from the rows before; of a feature function any may be."""
    history = workflow.data.looked_back
    return history if history is None or workflow.features else history.making(preparation.features_in)


def _embeddings(workflow: WorkflowFile, opened: Opened, preparation: Preparation) -> tuple[Embedding, ...]:
    """Say which of the columns that the model takes are made of texts; of a feature function any may be."""
    made = opened.trained.embeddings
    return made if workflow.features else making(made, preparation.features_in)


def _packaged(place: str, pipeline: Pipeline) -> Manifest | None:
    """Return the manifest of this very model if it was packaged before a crash; another or a damaged one is removed."""
    if not exists(place):
        return None
    with suppress(PackageError, StorageError):
        manifest = read_package(place).manifest
        if manifest.model_sha256 == model_digest(pipeline):
            return manifest
    remove_tree(place)
    return None


def publish(workflow: WorkflowFile, passed: bool, reader: Reader, run: RunDirectory) -> None:
    """Register the package once; a model that missed its criteria is published as a candidate only."""
    name = workflow.publish.name or workflow.problem.name
    registry = Registry(workflow.publish.registry)
    digest = sha256(read_bytes(join(run.url, "model", MANIFEST)))
    version = _published(registry, name, digest, reader, run.again)
    if version is None:
        if reader.ledger is not None:
            reader.ledger.append(f"{run.again}publishing", {"after": max(registry.versions(name), default=0)})
        version = registry.publish(name, join(run.url, "model"), status="passed" if passed else "candidate")
    elif passed and CHAMPION not in registry.aliases(name):
        # The version appeared and its alias did not, or another became champion at this moment.
        with suppress(InputError):
            registry.set_alias(name, CHAMPION, version, expected=None)
    if reader.ledger is not None:
        reader.ledger.append(f"{run.again}published", {"name": name, "version": version})
    run.record["model"] = f"{name}@{version}"
    run.record["registry"] = workflow.publish.registry


def _published(registry: Registry, name: str, manifest_sha256: str, reader: Reader, again: str) -> int | None:
    """Find the version that this run has published before a crash, whether or not it came to write that down."""
    if reader.ledger is None:
        return None
    facts = reader.ledger.state.facts
    published, publishing = f"{again}published", f"{again}publishing"
    if published in facts:
        return int(facts[published].body["version"])
    if publishing not in facts:
        return None
    for version in registry.versions(name):
        if version > facts[publishing].body["after"]:
            note = read_json(join(registry.url, name, str(version), VERSION))
            if note["manifest_sha256"] == manifest_sha256:
                return version
    return None


def measured(reader: Reader, run: RunDirectory) -> dict[str, Any]:
    """Say what the passes have read and the memory that they took, for ``run.json``."""
    workers: dict[str, int] = {}
    for record in reader.records:
        for address, peak in record.memory_peak.items():
            workers[address] = max(peak, workers.get(address, 0))
    here = peak_resident_bytes()
    in_process = any(address.startswith("inproc") for address in workers)
    return {
        "data_passes": {**run.record["data_passes"], "done": len(reader.records)},
        "passes": [
            {
                "name": record.name,
                "chunks": record.chunks,
                "rows": record.rows,
                "rows_kept": record.kept,
                "bytes": record.bytes,
                "seconds": round(record.seconds, 3),
                "memory_peak": max(record.memory_peak.values(), default=0),
            }
            for record in reader.records
        ],
        "ledger": {} if reader.ledger is None else reader.ledger.cost,
        "bytes_read": sum(record.bytes for record in reader.records),
        "peak_rss_bytes": {
            "workers": workers,
            "coordinator": here,
            "total": max(workers.values(), default=here) if in_process else here + sum(workers.values()),
        },
    }


def note(run: RunDirectory, lines: Sequence[str]) -> None:
    """Tell the user what was decided for them, now and in ``run.json``."""
    run.record["notes"] = list(dict.fromkeys([*run.record.get("notes", []), *lines]))
    for line in lines:
        run.tell(Note(line))


def report(workflow: WorkflowFile, run: RunDirectory) -> None:
    """Write ``report.html`` from what the run has made so far."""
    preparation, manifest = run.products.get("preparation"), run.products.get("manifest")
    page = render_report({
        **run.documents,
        "workflow": workflow.model_dump(mode="json"),
        "run": run.record,
        "profile": run.products.get("profile"),
        "exploration": run.products.get("exploration"),
        "preparation": preparation.describe() if preparation else None,
        "manifest": manifest.to_dict() if manifest else None,
    })  # fmt: skip
    write_bytes(join(run.url, "report.html"), page.encode())


def _input(column: ColumnProfile) -> InputColumn:
    summary = column.overall
    low: float | str | None = None
    high: float | str | None = None
    if column.kind in {"numeric", "datetime"} and summary.moments is not None and summary.moments.n:
        low, high = summary.moments.minimum, summary.moments.maximum
        if column.kind == "datetime":
            low, high = column.shown(low), column.shown(high)
    return InputColumn(
        name=column.name,
        type=column.type,
        kind=column.kind,
        nullable=summary.missing > 0,
        minimum=low,
        maximum=high,
        categories=tuple(value for value, _ in column.top(100)) if column.kind == "string" else None,
    )
