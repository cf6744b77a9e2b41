"""hr.profile: the profile of a dataset, on workers that are started for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.cluster.config import ClusterFile
    from headrace.data.dataset import Dataset
    from headrace.engine.events import Subscriber
    from headrace.profiling.profile import Profile


def profile(
    data: Dataset | str,
    target: str | None = None,
    *,
    cluster: ClusterFile | str | None = None,
    where: str | None = None,
    subscribers: Sequence[Subscriber] = (),
) -> Profile:
    """Profile a dataset in one pass.

    Parameters
    ----------
    data : Dataset or str
        A dataset, or the URL of one.
    target : str, optional
        Learn everything for each of its classes as well.
    cluster : ClusterFile or str, optional
        Where to work, or the path of a cluster file. When left out: this machine, in threads for small data.
    where : str, optional
        Which rows are profiled, such as ``age >= 18``; see `Dataset.where`.
    subscribers : sequence of callables, optional
        Told of each event of the pass.

    Returns
    -------
    Profile
        Of all rows that are wanted.

    Raises
    ------
    DataError
        A file cannot be read, or there is no column `target`.
    """
    from headrace.cluster.config import default_cluster, load_cluster
    from headrace.data.dataset import Dataset
    from headrace.profiling.measure import profile_dataset

    if isinstance(cluster, str):
        cluster = load_cluster(cluster)
    if isinstance(data, str):
        memory = (cluster or default_cluster()).memory_bytes
        data = Dataset(data, memory=memory)
    if where is not None:
        data = data.where(where)
    if target is not None:
        data.check_columns([target])
    with (cluster or default_cluster(data.bytes)).connect() as client:
        return profile_dataset(client, data, target=target, subscribers=subscribers)
