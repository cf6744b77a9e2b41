"""A workflow run again on the newest rows; its model becomes the challenger, and the champion stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import InputError
from headrace.monitoring.options import seconds_of
from headrace.monitoring.retrain import reasons_to_retrain
from headrace.monitoring.watching import measure_last, write_state
from headrace.opening import open_data
from headrace.packaging.registry import Registry
from headrace.runs import Workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.cluster.workers import Workers
    from headrace.monitoring.grids import Grid
    from headrace.monitoring.options import MonitorFile
    from headrace.monitoring.store import MonitorStore
    from headrace.monitoring.watching import WatchState
    from headrace.packaging.package import Package

CHALLENGER = "challenger"


def retrain_when_due(
    store: MonitorStore,
    options: MonitorFile,
    state: WatchState,
    grids: Mapping[str, Grid],
    package: Package,
    version: str,
    *,
    now: float,
    cluster: Workers | None = None,
) -> dict[str, Any] | None:
    """Train again when there is a reason; the new version becomes the challenger and nothing else.

    Parameters
    ----------
    store : MonitorStore
    options : MonitorFile
        With ``retrain``.
    state : WatchState
        After the last look.
    grids : mapping of str to Grid
        Cells by their digest.
    package : Package
        The model that is in use.
    version : str
        As windows name it.
    now : float
        Seconds since 1970.
    cluster : Workers, optional
        Where the work runs.

    Returns
    -------
    dict or None
        ``reasons`` beside what `train_challenger` returns; None when it is not due.
    """
    retrain = options.retrain
    if retrain is None:
        return None
    window = seconds_of(retrain.window)
    found = measure_last(store, grids, window, now, false_alarms=options.false_alarms)
    reasons = reasons_to_retrain(
        retrain,
        [each for each in found if each.window.version == version],
        created=package.manifest.created,
        trained_rows=package.profile["rows"],
        rows_now=count_rows(retrain.workflow) if retrain.new_rows is not None else None,
        last=state.retrained,
        now=now,
    )
    if not reasons:
        return None
    # Written before the work: a run that fails is not tried again at every look.
    write_state(store, replace(state, retrained=now))
    newest = seconds_of(retrain.data_window) if retrain.data_window is not None else None
    return {
        "reasons": reasons,
        **train_challenger(retrain.workflow, newest_seconds=newest, now=now, cluster=cluster),
    }


def train_challenger(
    path: str, *, newest_seconds: float | None, now: float, cluster: Workers | None = None
) -> dict[str, Any]:
    """Run a workflow, and let ``challenger`` stand for the version that it publishes.

    Parameters
    ----------
    path : str
        The workflow file.
    newest_seconds : float, optional
        Only rows whose ``data.time`` is at most so many seconds before `now`.
    now : float
        Seconds since 1970.
    cluster : Workers, optional
        Where the work runs.

    Returns
    -------
    dict
        ``directory`` of the run, ``model`` (``late@4``), ``version``, ``passed`` (its success criteria).

    Raises
    ------
    HeadraceError
        When the run cannot end well; aliases then stay as they are.
    """
    workflow = Workflow.load(path)
    if newest_seconds is not None:
        workflow = newest_rows(workflow, now - newest_seconds, where=path)
    options = workflow.options
    registry = Registry(options.publish.registry)
    name = options.publish.name or options.problem.name
    result = workflow.run(cluster)
    model = str(result.run["model"])
    version = int(model.rpartition("@")[2])
    registry.set_alias(name, CHALLENGER, version)
    return {"directory": result.directory, "model": model, "version": version, "passed": result.passed}


def newest_rows(workflow: Workflow, since: float, *, where: str) -> Workflow:
    """Return the workflow on rows from a moment on, in seconds since 1970.

    Raises
    ------
    InputError
        When the workflow names no time column.
    """
    data = workflow.options.data
    if data.time is None:
        raise InputError("a window of rows needs data.time", where=where, mend="name the time column")
    start = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    condition = f"`{data.time}` >= '{start}'"
    both = condition if data.where is None else f"({data.where}) and {condition}"
    narrowed = data.model_copy(update={"where": both})
    return replace(workflow, options=workflow.options.model_copy(update={"data": narrowed}))


def count_rows(path: str) -> int:
    """Count the rows of a workflow's data, from the files' footers."""
    options = Workflow.load(path).options
    return int(open_data(options, 1 << 30).dataset.rows)
