"""What commands about models in use share: versions and their cells, a table of drift, and what watches a server."""

from __future__ import annotations

import atexit
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.table import Table

    from headrace.monitoring.drift import ColumnDrift
    from headrace.monitoring.grids import Grid
    from headrace.monitoring.store import MonitorStore
    from headrace.monitoring.windows import Window
    from headrace.packaging.package import Package
    from headrace.serving.observing import BoundedQueue

SHOWN_SECONDS = 3600
_FRESH_SECONDS = 15.0


@dataclass(frozen=True)
class Watching:
    """Makes what watches one process of a server.

    Attributes
    ----------
    store : str
        URL of the monitor store.
    name : str
        Of the model.
    registry : str
        Where versions that are loaded later are found.
    folder : str or None
        The package's folder, of a model that is in no registry.
    """

    store: str
    name: str
    registry: str
    folder: str | None = None

    def __call__(self) -> tuple[BoundedQueue, Callable[[], Any]]:
        """Start the recorder; it writes what it holds when the process ends in order."""
        from headrace.monitoring.recording import Recorder, grid_of
        from headrace.serving.observing import BoundedQueue

        def find(version: str) -> Grid:
            return grid_of(read_version(version, self.registry, self.folder))

        queue = BoundedQueue()
        recorder = Recorder(self.store, self.name, find=find)
        recorder.start(queue)
        atexit.register(recorder.stop)
        return queue, _Drift(recorder.store, recorder.grids)


class _Drift:
    """The last hour in the store beside training, at most every fifteen seconds."""

    def __init__(self, store: MonitorStore, grids: Callable[[], dict[str, Grid]]) -> None:
        self._store = store
        self._grids = grids
        self._said: list[dict[str, Any]] = []
        self._at = 0.0

    def __call__(self) -> list[dict[str, Any]]:
        from headrace.monitoring.drift import FALSE_ALARMS
        from headrace.monitoring.watching import measure_last

        now = time.time()
        if now - self._at < _FRESH_SECONDS:
            return self._said
        grids = {grid.digest: grid for grid in self._grids().values()}
        found = measure_last(self._store, grids, SHOWN_SECONDS, now, false_alarms=FALSE_ALARMS)
        rows = [
            {
                "version": each.window.version,
                "arm": each.window.arm,
                "column": drift.column,
                "moved": drift.state or "too few rows",
                "PSI": round(drift.psi, 3),
                "missing": f"{drift.missing:.1%}",
                "not seen before": f"{drift.unseen + drift.outside:.1%}",
            }
            for each in found
            for drift in sorted(each.inputs.values(), key=lambda one: (-one.size, -one.psi))[:10]
        ]
        self._said, self._at = rows, now
        return rows


def read_version(version: str, registry: str, folder: str | None = None) -> Package:
    """Read the package of a version as a server names it: ``late@3``, or the folder's own name."""
    from headrace.packaging.package import read_package
    from headrace.packaging.registry import Registry

    return read_package(folder if folder is not None else Registry(registry).resolve(version))


def seconds(span: str) -> float:
    """Read a span of time as a flag gives it: 30m, 24h, 7d."""
    from headrace.errors import InputError
    from headrace.monitoring.options import seconds_of

    try:
        return seconds_of(span)
    except ValueError as error:
        raise InputError(str(error)) from None


def name_of(model: str) -> tuple[str, str | None]:
    """Return the name of a model, and its folder when it is in no registry."""
    from pathlib import PurePosixPath

    from headrace.data.storage import exists, join

    if "/" in model or exists(join(model, "manifest.json")):
        return PurePosixPath(model.rstrip("/")).name, model
    return model.partition("@")[0], None


def score_columns(grid: Grid) -> dict[str, str]:
    """Name the columns in which batch scoring writes the scores that are followed."""
    from headrace.serving.batch import PREDICTION, PROBABILITY

    return {name: PREDICTION if grid.task == "regression" else f"{PROBABILITY}{name}" for name in grid.scores}


def package_of(model: str, registry: str) -> tuple[Package, str]:
    """Read a package; its version as a server names it."""
    from pathlib import PurePosixPath

    name, folder = name_of(model)
    package = read_version(model, registry, folder)
    return package, name if folder is not None else f"{name}@{PurePosixPath(package.url).name}"


def packages_of(windows: Iterable[Window], model: str, registry: str) -> dict[str, tuple[Grid, Package]]:
    """Read the packages of the versions that windows are of; those that are gone have no cells."""
    from headrace.errors import HeadraceError
    from headrace.monitoring.recording import grid_of

    folder = name_of(model)[1]
    known = {}
    for version in sorted({window.version for window in windows if window.grid}):
        try:
            package = read_version(version, registry, folder)
        except HeadraceError as error:
            say(f"{version}: {error}; its drift is not known")
            continue
        known[version] = (grid_of(package), package)
    return known


def drift_table(found: list[ColumnDrift]) -> Table:
    """Show columns, those that moved most first."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("column", "moved", "why"):
        table.add_column(name)
    for name in ("PSI", "by chance", "KS", "missing", "before", "outside", "unseen"):
        table.add_column(name, justify="right")
    for drift in sorted(found, key=lambda each: (-each.size, -each.psi, each.column)):
        table.add_row(
            drift.column[:60],
            drift.state or "too few rows",
            drift.why,
            f"{drift.psi:.3f}",
            f"{drift.psi_chance:.3f}",
            "" if drift.ks is None else f"{drift.ks:.3f}",
            f"{drift.missing:.1%}",
            f"{drift.missing_before:.1%}",
            f"{drift.outside:.1%}",
            f"{drift.unseen:.1%}",
        )
    return table


def arm_of(windows: list[Window], arm: str, version: str | None) -> Window:
    """Return the window of an arm that has labels, of the version given or the newest."""
    from headrace.errors import InputError

    found = [
        window
        for window in windows
        if window.arm == arm and version in {None, window.version} and window.outcomes.rows
    ]
    if not found:
        raise InputError(
            f"there are no labels of a {arm}{f' {version}' if version else ''}",
            where="monitor ab",
            mend="serve with --challenger and --monitor, and send labels to /v1/feedback",
        )
    return max(found, key=lambda window: (window.end, window.version))
