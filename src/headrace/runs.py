"""The spine, read top to bottom: Workflow, plan, run, resume."""

from __future__ import annotations

import platform
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from headrace.data import audit
from headrace.data.embeddings import WHERE as EMBEDDINGS
from headrace.data.storage import read_bytes
from headrace.decision import check_decision, decide
from headrace.engine.cache import ArrayCache
from headrace.engine.events import Note
from headrace.engine.lease import Lease
from headrace.engine.ledger import BEGUN, CLOSED, Ledger
from headrace.engine.passes import Reader
from headrace.errors import HeadraceError, InputError, RunError, StorageError
from headrace.evaluation.cells import cells_of
from headrace.evaluation.testing import assess
from headrace.evaluation.understanding import understand
from headrace.finishing import finish, refit
from headrace.libraries import load_libraries
from headrace.opening import Opened, open_data, read_target
from headrace.planning import plan_run, plan_within
from headrace.preparing import learn_products
from headrace.profiling.folds import training_profile
from headrace.profiling.profile import compact
from headrace.profiling.writing import profile_lines
from headrace.rundir import RunDirectory, new_directory
from headrace.selecting import Selector, check_candidates, select
from headrace.stages import (
    check,
    judge,
    look,
    look_back,
    measured,
    note,
    package,
    publish,
    report,
    require_same,
)
from headrace.training.baseline import baseline
from headrace.training.candidates import BASELINE
from headrace.workflow import WorkflowFile, load_workflow, parse_workflow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.cluster.workers import Workers
    from headrace.engine.events import Subscriber
    from headrace.engine.plan import Plan

PACKAGES = ("headrace", "dask", "distributed", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops")


@dataclass(frozen=True)
class RunResult:
    """What a run leaves behind."""

    run: dict[str, Any]
    """The document ``run.json``."""
    directory: str
    passed: bool
    """Whether every success criterion of the problem is met."""

    def _repr_html_(self) -> str:
        best = self.run.get("best", {})
        verdict = "passed" if self.passed else "missed its success criteria"
        directory, candidate, model = (
            escape(str(text))
            for text in (self.directory, best.get("candidate", ""), self.run.get("model", ""))
        )
        return f"<p>Run <code>{directory}</code> {verdict}: best candidate <b>{candidate}</b>, model {model}.</p>"


@dataclass(frozen=True)
class Workflow:
    """A workflow file, ready to be planned and run.

    Attributes
    ----------
    options : WorkflowFile
        What the file says.
    text : str
        The file itself.
    """

    options: WorkflowFile
    text: str

    @classmethod
    def load(cls, path: str) -> Workflow:
        """Read a workflow file.

        Raises
        ------
        WorkflowError
            When the file is missing, or a key or value in it is wrong.
        """
        options = load_workflow(str(path))
        return cls(options, read_bytes(str(path)).decode())

    @classmethod
    def parse(cls, text: str) -> Workflow:
        """Read a workflow from YAML text."""
        return cls(parse_workflow(text), text)

    def with_seed(self, seed: int) -> Workflow:
        """Return the same workflow with another seed."""
        return replace(self, options=self.options.model_copy(update={"seed": seed}))

    def plan(self, cluster: Workers | None = None, *, calibrate: bool = False) -> Plan:
        """Say what a run will read and need, from the footers alone; with `calibrate`, read a chunk to expect times."""
        _, opened, plan = self._planned(cluster)
        if calibrate:
            from headrace.calibrating import calibrate as measure_rates

            plan = measure_rates(self.options, opened).expect(plan)
        return plan

    def run(
        self,
        cluster: Workers | None = None,
        run_dir: str | None = None,
        subscribers: Sequence[Subscriber] = (),
    ) -> RunResult:
        """Do all of it: profile, check, prepare, train, evaluate, package, register, report.

        Parameters
        ----------
        cluster : Workers, optional
            Where the work runs; by default the cores of this machine.
        run_dir : str, optional
            Where the run writes; by default ``runs/NAME-TIME``.
        subscribers : sequence of callables, optional
            Told of every event.

        Raises
        ------
        HeadraceError
            When something given is wrong, a check fails, or the run cannot end well; what was written until then
            stays, with the reason in ``run.json``.
        """
        cluster, opened, plan = self._planned(cluster)
        plan.require_fit()
        directory = RunDirectory(run_dir or new_directory(self.options.problem.name), subscribers)
        directory.require_empty()
        with Lease(directory.ledger) as lease:
            directory.open(self.text, self._record(opened, plan))
            return self._lead(opened, plan, cluster, directory, lease)

    def _planned(self, cluster: Workers | None) -> tuple[Workers, Opened, Plan]:
        """Refuse what cannot be tried, open the data and plan the passes over it."""
        from headrace.cluster.config import default_cluster

        check_candidates(self.options)
        opened = open_data(self.options, (cluster or default_cluster()).memory_bytes)
        cluster = cluster or default_cluster(opened.dataset.bytes)
        return cluster, *_plan(self.options, opened, cluster)

    @classmethod
    def resume(
        cls,
        run_dir: str,
        cluster: Workers | None = None,
        subscribers: Sequence[Subscriber] = (),
        *,
        more_candidates: int = 0,
    ) -> RunResult:
        """Go on with a run that was ended before its time; it ends with the model of a run that never was.

        Parameters
        ----------
        run_dir : str
            The directory of the run.
        cluster : Workers, optional
            Where the work runs, which may be elsewhere than before; by default the cores of this machine.
        subscribers : sequence of callables, optional
            Told of every event.
        more_candidates : int, optional
            So many are added to the search of the run, which may have ended.

        Raises
        ------
        InputError
            When there is no run or no search that could be extended, its data have changed, or another process is working on it.
        HeadraceError
            As from `run`.
        """
        from headrace.cluster.config import default_cluster

        directory = RunDirectory(run_dir, subscribers)
        text = directory.read()
        if more_candidates:
            _require_search(cls.parse(text).options, run_dir)
        elif directory.has_ended():
            return _ended(directory)
        with Lease(directory.ledger) as lease:
            text = directory.read()  # again, now that nobody else writes it
            if directory.has_ended() and not more_candidates:
                return _ended(directory)
            workflow = cls.parse(text).with_seed(directory.record["seed"])
            opened = open_data(workflow.options, directory.record["chunk_memory"])
            if opened.dataset.fingerprint != directory.record["data"]["fingerprint"]:
                raise InputError(
                    "the data are not those that the run began with",
                    where=opened.dataset.url,
                    mend="put them back, or begin a new run",
                )
            if _embedded(opened) != directory.record["data"].get("embeddings", []):
                raise InputError(
                    "the language models are not those that the run began with",
                    where=EMBEDDINGS,
                    mend="put them back, or begin a new run",
                )
            if len(opened.dataset.chunks) != directory.record.get("chunks", len(opened.dataset.chunks)):
                raise InputError(
                    f"the data are cut into {len(opened.dataset.chunks)} chunks, and the run began with "
                    f"{directory.record['chunks']}",
                    where=opened.dataset.url,
                    mend="go on with the versions that run.json names, or begin a new run",
                )
            cluster = cluster or default_cluster(opened.dataset.bytes)
            directory.extend(more_candidates)
            more = directory.record.get("more_candidates", ())
            opened, plan = _plan(workflow.options, opened, cluster, more)
            plan.require_fit()
            directory.record["data_passes"]["planned"] = len(plan.passes)
            directory.reopen()
            return workflow._lead(opened, plan, cluster, directory, lease)  # noqa: SLF001 - of its own class

    def _lead(
        self, opened: Opened, plan: Plan, cluster: Workers, directory: RunDirectory, lease: Lease
    ) -> RunResult:
        directory.write("plan", plan.to_dict())
        ledger = Ledger(directory.ledger, guard=lease.check)
        note(directory, [*directory.found, *ledger.notes])
        if BEGUN not in ledger.state.facts:
            ledger.append(BEGUN, {"workflow": self.text, "run": directory.record})
        reader: Reader | None = None
        try:
            load_libraries(cluster, native=opened.native)
            with cluster.connect() as client:
                reader = Reader(client, directory.subscribers, ledger)
                passed = spine(self.options, opened, reader, directory, kept_blocks(self.options, cluster))
        except HeadraceError as error:
            # The first error is the one to tell, also when the disk is too full to write it down.
            with suppress(StorageError, RunError):
                lease.check()  # who has taken the run over writes its record
                directory.close("failed", error=str(error), **(measured(reader, directory) if reader else {}))
                report(self.options, directory)
            raise
        _audit(directory)
        return RunResult(directory.record, directory.url, passed)

    def _record(self, opened: Opened, plan: Plan) -> dict[str, Any]:
        dataset = opened.dataset
        return {
            "name": self.options.problem.name,
            "rows": dataset.rows,
            "chunks": len(dataset.chunks),
            "data": {"url": dataset.url, "fingerprint": dataset.fingerprint, "embeddings": _embedded(opened)},
            "seed": self.options.seed,
            "chunk_memory": dataset.memory,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "data_passes": {"planned": len(plan.passes), "done": 0},
            "memory_budget": plan.memory_budget,
            "memory_projected": plan.memory_projected,
            "memory_leading": plan.memory_leading,
        }


def spine(
    workflow: WorkflowFile,
    opened: Opened,
    reader: Reader,
    run: RunDirectory,
    cache: ArrayCache | None = None,
) -> bool:
    """Lead the data from the source to a published model; each line makes one product of those before it.

    Returns
    -------
    bool
        Whether the model meets the success criteria.
    """
    task = workflow.problem.task
    with run.stage("profile", f"{opened.dataset.rows:,} rows"):
        opened = look_back(opened, reader)
        survey = look(workflow, opened, reader, run)
        profiles, whole = survey.profiles, survey.whole
        learnable = training_profile(profiles, opened.splitter)
        run.products["profile"] = learnable
        run.write_pieces("profile", profile_lines(compact(whole, opened.stored)))
    with run.stage("checks"):
        check(workflow, opened, survey, whole, run)
    with run.stage("prepare"):
        target = read_target(workflow, opened, whole, learnable)
        check_decision(workflow, target)
        selector = Selector(workflow, opened, profiles, target, cache, survey.findings)
        learn_products(selector, reader)
        preparation = selector.fit(workflow.prepare)
        run.products["preparation"] = preparation
        note(run, [*opened.dataset.notes, *preparation.notes])
        require_same(reader, preparation)
    with run.stage("train"):
        training = select(selector, reader, run)
    with run.stage("final fit"):
        fitted, preparation, maker = finish(selector, training, reader, run)
        training, maker, judged_by = decide(workflow, fitted, maker, run)
        run.products["preparation"] = preparation
    with run.stage("evaluate"):
        models = {"best": training.best.estimator, BASELINE: baseline(learnable, target)}
        known = {name: model for name, model in models.items() if model is not None}
        cells = cells_of(whole, preparation.features_in, workflow.evaluate.slices)
        name = f"{run.again}test"
        tested = assess(
            reader, opened.tested, maker, known, judged_by, task=task, kept="best", cells=cells, name=name
        )
    with run.stage("understand"):
        understood = understand(
            training.best, maker, preparation, tested, cells, learnable,
            task=task, metric=training.metric, certainty=selector.certain.get(training.best.candidate.name),
        )  # fmt: skip
        run.write("understanding", understood.to_dict())
    with run.stage("package"):
        training = refit(selector, fitted, training, preparation, reader, run)
        passed = judge(workflow, training, tested.assessments, run)
        manifest = package(
            workflow, opened, preparation, target, training, learnable, tested.rows, passed, run
        )
        run.products["manifest"] = manifest
    with run.stage("publish"):
        publish(workflow, passed, reader, run)
    run.end("passed" if passed else "missed", **measured(reader, run))
    report(workflow, run)
    run.save()
    if reader.ledger is not None:
        reader.ledger.append(CLOSED, {"run": run.record, "extendable": workflow.search is not None})
    return passed


def _audit(directory: RunDirectory) -> None:
    record = directory.record
    audit.record(
        "trained", record["model"], run=directory.url, data=record["data"]["url"],
        fingerprint=record["data"]["fingerprint"], model_sha256=record["model_sha256"], status=record["status"],
    )  # fmt: skip


def _ended(directory: RunDirectory) -> RunResult:
    if directory.found:
        directory.save()
    directory.tell(Note("this run has ended already; nothing is left to do"))
    return RunResult(directory.record, directory.url, directory.record["status"] == "passed")


def kept_blocks(workflow: WorkflowFile, cluster: Workers) -> ArrayCache | None:
    """Say where prepared blocks are kept: nowhere when used once, or when a user's code or the rows before have a say."""
    depends = workflow.features is not None or workflow.data.history
    if workflow.train.epochs == 1 or depends or cluster.disk == 0:
        return None
    return ArrayCache(cluster.block_directory, cluster.disk)


def _embedded(opened: Opened) -> list[dict[str, Any]]:
    """Say what language models make of texts, and which ones these are."""
    return [each.to_dict() for each in opened.profiled.embeddings]


def _require_search(workflow: WorkflowFile, place: str) -> None:
    if workflow.search is None or workflow.search.kind == "grid":
        raise InputError(
            "has no search that could be extended",
            where=place,
            mend="begin a run with search: {kind: random}, bayes, halving or hyperband",
        )


def _plan(
    workflow: WorkflowFile, opened: Opened, cluster: Workers, more: Sequence[int] = ()
) -> tuple[Opened, Plan]:
    kept = kept_blocks(workflow, cluster)
    planned = partial(
        plan_run,
        workflow,
        more=more,
        cache=0 if kept is None else kept.limit,
        workers=cluster.process_count,
        threads=cluster.worker_count * cluster.threads // cluster.process_count,
        memory_budget=cluster.process_memory,
        in_process=cluster.in_process,
    )
    return plan_within(opened, planned)
