"""Workers that were ended or paused for the memory that they held, as their nannies and the scheduler tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from distributed import Client

TOPIC = "worker-restart-memory"
"""Under which nannies of Dask tell it. The scheduler keeps no log of it, for its logs are off; who listens is told."""

_heard: WeakKeyDictionary[Client, dict[str, int]] = WeakKeyDictionary()


def listen(client: Client) -> None:
    """Hear from now on which workers are ended for their memory."""
    heard = _heard.setdefault(client, {})

    def hear(event: tuple[float, dict[str, int | str]]) -> None:
        heard[str(event[1]["worker"])] = int(event[1]["rss"])

    client.subscribe_topic(TOPIC, hear)


def terminated(client: Client) -> dict[str, int]:
    """Addresses of the workers that were ended, each with the resident bytes that it held."""
    return dict(_heard.get(client, {}))


PAUSED_MEND = "start them with more memory, or with DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False; then go on by --resume"


def paused(client: Client) -> int:
    """Count the workers to which Dask gives no tasks as long as they hold so much memory.

    Only a scheduler that was started elsewhere has such workers: those of our own are never paused, for what would free
    their memory are the very tasks that they wait for.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return sum(each["status"] == "paused" for each in workers.values())
