"""Versions of Python and packages: compared between client and workers before anything runs, and when a worker comes later."""

from __future__ import annotations

import logging
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import WorkerPlugin
from distributed.versions import get_versions

import headrace
from headrace.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distributed import Client, Worker

logger = logging.getLogger("headrace")

PACKAGES = ("headrace", "dask", "distributed", "cloudpickle", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops")  # fmt: skip
"""Packages whose version decides what a task computes, or whether it can be read at all."""

REFUSED = "headrace-refused"
"""Topic under which a worker tells why it leaves."""

Found = dict[str, str | None]


def differences(here: Found, there: Mapping[str, Found]) -> list[str]:
    """Say what differs from this process, one text for each package; packages that are missing there count.

    Parameters
    ----------
    here : dict
        Package to version, with ``python``.
    there : mapping
        The same for each worker, by its address.

    Examples
    --------
    >>> differences({"python": "3.11.2", "numpy": "2.3.0"}, {"a": {"python": "3.11.9", "numpy": "2.2.1"}})
    ['numpy is 2.3.0 here and 2.2.1 on a']
    """
    texts = []
    for package in ("python", *PACKAGES):
        wanted = _compared(package, here.get(package))
        others: dict[str, list[str]] = {}
        for worker, found in there.items():
            other = _compared(package, found.get(package))
            if other != wanted:
                others.setdefault(other, []).append(worker)
        for other, workers in others.items():
            more = f" and {len(workers) - 1} more" if len(workers) > 1 else ""
            texts.append(f"{package} is {wanted} here and {other} on {workers[0]}{more}")
    return texts


def _compared(package: str, version: str | None) -> str:
    """Patches of Python agree with each other."""
    if version is None:
        return "missing"
    return ".".join(version.split(".")[:2]) if package == "python" else version


def require_same_versions(client: Client) -> None:
    """Compare what is installed on the workers, and send them headrace itself when they lack it.

    Raises
    ------
    RunError
        When something differs; the one line names the packages, both versions and a worker.
    """
    versions: Any = client.get_versions(check=False, packages=list(PACKAGES))
    here = versions["client"]["packages"]
    there = {name: dict(found["packages"]) for name, found in versions["workers"].items()}
    lacking = [name for name, found in there.items() if found.get("headrace") is None]
    for name in lacking:
        there[name]["headrace"] = here["headrace"]
    texts = differences(here, there)
    if texts:
        raise RunError(
            f"the workers are not as this process: {', '.join(texts)}",
            mend="install the same versions on both, best from one lock file or image",
        )
    # The scheduler reads tasks too. One that has headrace, as that of this very process, must not load it again.
    send_package(
        client,
        scheduler=dict(versions["scheduler"]["packages"]).get("headrace") is None,
        workers=bool(lacking),
    )


class SameVersions(WorkerPlugin):
    """Lets a worker leave before its first task when it comes later with other versions, and tells who leads the run.

    Parameters
    ----------
    here : dict
        Package to version of the process that leads the run, with ``python``.
    """

    def __init__(self, here: Found) -> None:
        self.here = here

    async def setup(self, worker: Worker) -> None:
        """Compare, and leave: tasks that the worker was given go to others."""
        found = _installed()
        if found.get("headrace") is None:  # it was sent
            found["headrace"] = self.here["headrace"]
        texts = differences(self.here, {worker.address: found})
        if texts:
            worker.log_event(REFUSED, ", ".join(texts))
            leave: Any = worker.close_gracefully  # untyped
            await leave(reason=f"other versions than the run: {', '.join(texts)}")


def _installed() -> Found:
    found: Any = get_versions(PACKAGES)
    return dict(found["packages"])


def refuse_others(client: Client) -> None:
    """Refuse workers that come from now on with other versions than this process; each is told as a warning."""

    def tell(event: tuple[float, str]) -> None:
        logger.warning(
            "WARNING: a worker that came later is not used, for it is not as this process: %s", event[1]
        )

    client.subscribe_topic(REFUSED, tell)
    client.register_plugin(SameVersions(_installed()), name="headrace-versions")


def send_package(client: Client, *, scheduler: bool, workers: bool) -> None:
    """Send headrace, as it is here, to the scheduler or to every worker, also to those that come later."""
    if not scheduler and not workers:
        return
    from distributed.diagnostics.plugin import SchedulerUploadFile, UploadFile

    root = Path(headrace.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "headrace-package.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(root.rglob("*")):
                if path.is_file() and path.suffix != ".pyc":
                    file.write(path, path.relative_to(root.parent))
        if scheduler:
            client.register_plugin(SchedulerUploadFile(str(archive)), name="headrace-for-scheduler")
        if workers:
            client.register_plugin(UploadFile(str(archive)), name="headrace-for-workers")
