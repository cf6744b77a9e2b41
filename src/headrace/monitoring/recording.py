"""From a server's events to windows in the monitor store: one for each minute, version and arm, by a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headrace.errors import HeadraceError
from headrace.monitoring.grids import Grid
from headrace.monitoring.performance import Outcomes, Traffic
from headrace.monitoring.store import MonitorStore
from headrace.monitoring.strays import Stray, Strays
from headrace.monitoring.tallies import Tally
from headrace.monitoring.windows import HOUR, MINUTE, Window, floor, merge_by
from headrace.packaging.exports.onnx_file import feed, sort_of
from headrace.profiling.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from headrace.packaging.package import Package
    from headrace.packaging.signature import InputColumn

CHAMPION = "champion"
_LOG = logging.getLogger("headrace.monitoring")


class Events(Protocol):
    """Where events wait, such as `headrace.serving.observing.BoundedQueue`."""

    dropped: int
    """Events that found no room."""

    def drain(self) -> Sequence[Any]:
        """Give back what has come, the oldest first, and forget it."""


@dataclass(frozen=True, eq=False, slots=True)
class _Said:
    """What one arm said of one request."""

    version: str
    arm: str
    outputs: NDArray[Any]


@dataclass(frozen=True)
class _Known:
    """Labels of one request, and what one arm and the champion said of it."""

    outputs: NDArray[Any]
    labels: tuple[Any, ...]
    champion: NDArray[Any] | None


_Key = tuple[int, str, str, str]
"""Minute, version, arm, and the version of a champion that said something comparable of the same rows, or ""."""


def grid_of(package: Package) -> Grid:
    """Cut the cells in which the rows of a package's model are counted."""
    manifest = package.manifest
    return Grid.of(Profile.from_dict(package.profile), manifest.signature, manifest.metrics)


class Recorder:
    """Counts events by minute, version and arm, and writes them to a monitor store.

    Its memory is bounded: about 1 kB for each column, version and arm of the minutes that are open, and what each arm
    said of the last `remembered` rows, to which labels are held when they come.

    Parameters
    ----------
    store_url : str
        The monitor store, any fsspec URL.
    name : str
        Of the model.
    every : float
        Seconds between looks at the queue.
    find : callable, optional
        Gives the cells of a version that is not known yet, when it is first seen: a model may be exchanged while it
        is served.
    remembered : int
        Rows whose predictions are kept for labels that come later.

    Examples
    --------
    With a server's queue::

        recorder = Recorder("s3://models/monitor", "late")
        recorder.add("late@3", package)
        recorder.start(queue)
        ...
        recorder.stop()
    """

    def __init__(
        self,
        store_url: str,
        name: str,
        *,
        every: float = 1.0,
        find: Callable[[str], Grid] | None = None,
        remembered: int = 200_000,
    ) -> None:
        self.name = name
        self.store = MonitorStore(store_url, name)
        self.every = every
        self.remembered = remembered
        self._find = find
        self._grids: dict[str, Grid] = {}
        self._open: dict[tuple[int, str, str], Window] = {}
        self._said: OrderedDict[str, list[_Said]] = OrderedDict()
        self._early: list[Any] = []
        self._lost: list[Stray] = []
        self._strays = Strays(self.store)
        self._rows = 0
        self._dropped = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, version: str, package: Package | Grid) -> None:
        """Make a version known; its events are counted from now on.

        Parameters
        ----------
        version : str
            As events name it, such as ``late@3``.
        package : Package or Grid
        """
        self._grids[version] = package if isinstance(package, Grid) else grid_of(package)

    def grids(self) -> dict[str, Grid]:
        """Cells of the versions that are known."""
        return dict(self._grids)

    def take(self, events: Iterable[Any]) -> None:
        """Count events of `headrace.serving.observing`; those of an unknown version are counted as traffic alone."""
        together: dict[tuple[int, str, str], list[Any]] = {}
        known: dict[_Key, list[_Known]] = {}
        early, self._early = self._early, []
        labels = []
        for event in events:
            if hasattr(event, "feeds"):
                key = (floor(event.at, MINUTE), event.version, event.arm)
                together.setdefault(key, []).append(event)
                self._remember(event)
            elif hasattr(event, "labels"):
                labels.append(event)
            else:
                self._add(event.at, self.name, "", traffic=Traffic(failures={str(event.status): 1}))
        # Calls of one minute are counted together: per row that costs a hundredth of counting each by itself.
        for (start, version, arm), calls in together.items():
            self._require(version)
            self._count(start, version, arm, calls)
        # A label may overtake its prediction in the queue: what finds none is tried once more at the next look.
        for place, event in enumerate((*early, *labels)):
            if place >= len(early) and event.request_id not in self._said and not isinstance(event, Stray):
                self._early.append(event)
                continue
            for minute, found in self._label(event):
                known.setdefault(minute, []).append(found)
        for minute, labelled in known.items():
            self._judge(minute, labelled)

    def leave(self) -> None:
        """Leave labels of requests that this process has not answered for the one that has."""
        lost, self._lost = self._lost, []
        self._strays.leave(lost)

    def flush(self, *, now: float | None = None, everything: bool = False) -> None:
        """Write the minutes that are over, or all; what cannot be written is kept, and tried again.

        Minutes that wait for a store that is away are put together to hours, so that they do not fill the memory.
        """
        moment = time.time() if now is None else now
        done = [key for key in self._open if everything or key[0] + MINUTE <= moment]
        try:
            for start in sorted({key[0] for key in done}):
                keys = [key for key in done if key[0] == start]
                self.store.write([self._open[key] for key in keys])
                for key in keys:
                    del self._open[key]
        except HeadraceError as error:
            _LOG.warning("monitor store: %s; it is tried again", error)
            if len(self._open) > 2 * HOUR // MINUTE:
                kept = merge_by(self._open.values(), HOUR)
                self._open = {(window.start, window.version, window.arm): window for window in kept}

    def start(self, queue: Events) -> None:
        """Take events from a queue in a thread, until `stop`."""
        self._thread = threading.Thread(target=self._run, args=(queue,), name="monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take what is left in the queue, write everything, and end the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, queue: Events) -> None:
        while True:
            ending = self._stop.wait(self.every)
            try:
                self.take((*queue.drain(), *self._strays.find(at_once=ending)))
                missed, self._dropped = queue.dropped - self._dropped, queue.dropped
                if missed > 0:
                    self._add(time.time(), self.name, "", traffic=Traffic(dropped=missed))
                if ending:
                    self.take(())
                self.leave()
                self.flush(everything=ending)
            except Exception:  # noqa: BLE001 - one event that cannot be counted must not end the watch
                _LOG.exception("events could not be counted")
            if ending:
                return

    def _require(self, version: str) -> None:
        """Find the cells of a version that is new; without them its traffic is counted, and the next look tries again."""
        if version in self._grids or self._find is None:
            return
        try:
            self._grids[version] = self._find(version)
        except HeadraceError as error:
            _LOG.warning("cells of %s: %s", version, error)

    def _add(self, at: float, version: str, arm: str, **parts: Any) -> None:
        start = floor(at, MINUTE)
        grid = self._grids.get(version)
        fresh = Window(version, arm, start, start + MINUTE, grid.digest if grid else "", **parts)
        key = start, version, arm
        held = self._open.get(key)
        # a version whose cells came to be known meanwhile begins anew
        self._open[key] = held.merge(fresh) if held is not None and held.key == fresh.key else fresh

    def _count(self, start: int, version: str, arm: str, calls: Sequence[Any]) -> None:
        traffic = Traffic()
        for call in calls:
            findings: dict[str, int] = {}
            for finding in call.findings:
                name = f"{finding.column}: {finding.check}"
                findings[name] = findings.get(name, 0) + len(finding.rows)
            rows = sum(call.request_rows)
            traffic = traffic.merge(
                Traffic.of_call(len(call.request_ids), rows, float(call.seconds), findings)
            )
        # Failures belong to no version; the requests beside them make a rate of the whole server.
        answered = sum(len(call.request_ids) for call in calls if not call.shadow)
        self._add(start, self.name, "", traffic=Traffic(requests=answered))
        grid = self._grids.get(version)
        if grid is None:
            self._add(start, version, arm, rows=traffic.rows, traffic=traffic)
            return
        feeds = {name: np.concatenate([call.feeds[name] for call in calls]) for name in calls[0].feeds}
        outputs = np.concatenate([np.asarray(call.outputs) for call in calls])
        inputs, scores = tally_feeds(feeds, grid), tally_outputs(outputs, grid)
        self._add(start, version, arm, rows=traffic.rows, inputs=inputs, scores=scores, traffic=traffic)

    def _remember(self, event: Any) -> None:
        outputs, at = np.asarray(event.outputs), 0
        for request, rows in zip(event.request_ids, event.request_rows, strict=True):
            said = _Said(event.version, event.arm, outputs[at : at + rows].copy())
            self._said.setdefault(request, []).append(said)
            at += rows
            self._rows += rows
        while self._rows > self.remembered and self._said:
            _, oldest = self._said.popitem(last=False)
            self._rows -= sum(len(each.outputs) for each in oldest)

    def _label(self, event: Any) -> list[tuple[_Key, _Known]]:
        """Find what was said of a request; the labels are held against it together with others of its minute."""
        held = self._said.pop(event.request_id, None)
        stray = isinstance(event, Stray)
        if held is None:
            if not stray:
                self._lost.append(Stray(event.at, event.request_id, event.labels))
                self._add(event.at, self.name, "", traffic=Traffic(unmatched=len(event.labels)))
            return []
        if stray:  # whoever left it has counted it
            self._add(event.at, self.name, "", traffic=Traffic(unmatched=-len(event.labels)))
        self._rows -= sum(len(each.outputs) for each in held)
        champion = next((each for each in held if each.arm == CHAMPION), None)
        found: list[tuple[_Key, _Known]] = []
        for each in held:
            grid = self._grids.get(each.version)
            if grid is None or len(event.labels) != len(each.outputs):
                continue
            key = (floor(event.at, MINUTE), each.version, each.arm)
            other = self._grids.get(champion.version) if champion and champion is not each else None
            if champion is not None and other is not None and other.classes == grid.classes:
                beside = _Known(each.outputs, event.labels, champion.outputs)
                found.append(((*key, champion.version), beside))
            else:
                found.append(((*key, ""), _Known(each.outputs, event.labels, None)))
        return found

    def _judge(self, key: _Key, known: Sequence[_Known]) -> None:
        """Hold the labels of one minute, version and arm against what was said."""
        start, version, arm, beside = key
        labels = [label for each in known for label in each.labels]
        outputs = np.concatenate([each.outputs for each in known])
        champion = (
            np.concatenate([each.champion for each in known if each.champion is not None]) if beside else None
        )
        grid = self._grids[version]
        outcomes = Outcomes.of(
            outputs,
            labels,
            grid.classes,
            champion,
            threshold=grid.threshold,
            champion_threshold=self._grids[beside].threshold if beside else None,
        )
        self._add(start, version, arm, outcomes=outcomes)


def tally_feeds(feeds: Mapping[str, NDArray[Any]], grid: Grid) -> dict[str, Tally]:
    """Count inputs as a model is fed them: tensors of shape (rows, 1) by column."""
    return {
        name: Tally.of(feeds[name][:, 0], column) for name, column in grid.inputs.items() if name in feeds
    }


def tally_outputs(outputs: NDArray[Any], grid: Grid) -> dict[str, Tally]:
    """Count what a model says: probabilities, shape (rows, classes), or predictions, shape (rows,)."""
    if outputs.ndim == 1:
        numbers = outputs.astype(np.float64) if outputs.dtype.kind in "fiu" else None
        return (
            {} if numbers is None else {name: Tally.of(numbers, each) for name, each in grid.scores.items()}
        )
    places = {str(label): place for place, label in enumerate(grid.classes)}
    return {
        name: Tally.of(outputs[:, places[name]].astype(np.float64), each)
        for name, each in grid.scores.items()
    }


def tally_table(table: pa.Table, inputs: Sequence[InputColumn], grid: Grid) -> dict[str, Tally]:
    """Count the columns of an Arrow table as `headrace.packaging.inputs.to_table` makes it."""
    feeds = {column.name: feed(table.column(column.name), sort_of(column.kind)) for column in inputs}
    return tally_feeds(feeds, grid)


def window_of_profile(
    profile: Profile,
    grid: Grid,
    *,
    version: str,
    at: float,
    arm: str = "batch",
    score_columns: Mapping[str, str] | None = None,
) -> tuple[Window, dict[str, float]]:
    """Count a profile, such as that of batch scoring, in the cells of a model.

    Parameters
    ----------
    profile : Profile
        Of rows that were scored or checked.
    grid : Grid
    version, arm : str
        What the window is of.
    at : float
        When it was, in seconds since 1970.
    score_columns : mapping of str to str, optional
        Name of a score in the grid to its column in the profile.

    Returns
    -------
    tuple of Window and dict of str to float
        The window, and the proved error of the shares of each column.
    """
    inputs = {
        name: Tally.of_profile(profile.columns[name], column)
        for name, column in grid.inputs.items()
        if name in profile.columns
    }
    scores = {
        name: Tally.of_profile(profile.columns[column], grid.scores[name])
        for name, column in (score_columns or {}).items()
        if name in grid.scores and column in profile.columns
    }
    errors = {}
    for name in inputs:
        sketch = profile.columns[name].overall.quantiles
        errors[name] = float(sketch.rank_error) if sketch is not None and sketch.n else 0.0
    start = floor(at, MINUTE)
    window = Window(version, arm, start, start + MINUTE, grid.digest, profile.rows, inputs, scores)
    return replace(window, traffic=Traffic(rows=profile.rows)), errors
