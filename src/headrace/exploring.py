"""hr.profile: the profile of a dataset, and what finders find, on workers that are started for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from headrace.cluster.workers import Workers
    from headrace.data.dataset import Dataset
    from headrace.engine.events import Subscriber
    from headrace.profiling.exploration import Exploration
    from headrace.profiling.profile import Profile
    from headrace.profiling.survey import Finder, Survey
    from headrace.profiling.violations import Exported, Violations
    from headrace.report.shown import ShownProfile


def profile(
    data: Dataset | str,
    target: str | None = None,
    *,
    time: str | None = None,
    cluster: Workers | str | None = None,
    where: str | None = None,
    subscribers: Sequence[Subscriber] = (),
) -> ShownProfile:
    """Profile a dataset in one pass, with pairs, trends and what is missing together.

    Parameters
    ----------
    data : Dataset or str
        A dataset, or the URL of one.
    target : str, optional
        Learn everything for each of its classes as well.
    time : str, optional
        The column of dates or timestamps that trends follow; the first one when left out.
    cluster : Workers or str, optional
        Where to work, or the path of a cluster file. When left out: this machine, in threads for small data.
    where : str, optional
        Which rows are profiled, such as ``age >= 18``; see `Dataset.where`.
    subscribers : sequence of callables, optional
        Told of each event of the pass.

    Returns
    -------
    ShownProfile
        A `Profile` of all rows that are wanted, which shows itself in a notebook as its page.

    Raises
    ------
    DataError
        A file cannot be read, or there is no column `target`.
    InputError
        When `time` is not a column of dates or timestamps.
    """
    from headrace.profiling.provenance import read_provenance
    from headrace.report.shown import ShownProfile

    data = _dataset(data, cluster, where)
    found, exploration = explore(data, target, time=time, cluster=cluster, subscribers=subscribers)
    return ShownProfile.of(found, exploration, data.url, read_provenance(data.url))


def survey(
    data: Dataset | str,
    target: str | None = None,
    *,
    finders: Sequence[Finder] = (),
    cluster: Workers | str | None = None,
    where: str | None = None,
    subscribers: Sequence[Subscriber] = (),
) -> Survey:
    """Profile a dataset in one pass, and find what is looked for beside it.

    Parameters
    ----------
    finders : sequence of Finder
        What is looked for; the others are those of `profile`.

    Raises
    ------
    DataError
        A file cannot be read, or there is no column `target`, or none of those that a finder looks at.
    """
    from headrace.cluster.config import default_cluster, load_cluster
    from headrace.profiling.measure import profile_dataset

    if isinstance(cluster, str):
        cluster = load_cluster(cluster)
    data = _dataset(data, cluster, where)
    if target is not None:
        data.check_columns([target])
    for finder in finders:
        data.check_columns(finder.columns)
    with (cluster or default_cluster(data.bytes)).connect() as client:
        return profile_dataset(client, data, target=target, subscribers=subscribers, finders=finders)


def _dataset(data: Dataset | str, cluster: Workers | str | None, where: str | None) -> Dataset:
    """Open what is profiled, cut for the memory of the workers."""
    from headrace.cluster.config import default_cluster, load_cluster
    from headrace.data.dataset import Dataset

    if isinstance(data, str):
        if isinstance(cluster, str):
            cluster = load_cluster(cluster)
        data = Dataset(data, memory=(cluster or default_cluster()).memory_bytes)
    return data if where is None else data.where(where)


def explore(
    data: Dataset | str,
    target: str | None = None,
    *,
    time: str | None = None,
    cluster: Workers | str | None = None,
    where: str | None = None,
    subscribers: Sequence[Subscriber] = (),
) -> tuple[Profile, Exploration]:
    """Profile a dataset in one pass, and look for pairs, trends and what is missing together.

    Parameters
    ----------
    time : str, optional
        The column of dates or timestamps that trends follow; the first one when left out. The others are those of
        `profile`.

    Raises
    ------
    DataError
        A file cannot be read, or there is no column `target`.
    InputError
        When `time` is not a column of dates or timestamps.
    """
    from headrace.profiling.exploration import Exploration, finders_for

    data = _dataset(data, cluster, where)
    # A filter keeps an unknown number of the rows that the footers count.
    filtered = any(chunk.where is not None for chunk in data.chunks)
    finders = finders_for(data.schema, rows=None if filtered else data.rows, target=target, time=time)
    found = survey(data, target, finders=finders, cluster=cluster, subscribers=subscribers)
    return found.whole, Exploration.of(found.findings, finders)


def write_violations(
    data: Dataset,
    violations: Violations,
    url: str,
    *,
    personal: Collection[str] | None,
    cluster: Workers | str | None = None,
    subscribers: Sequence[Subscriber] = (),
) -> Exported:
    """Write the rows of a dataset that break something as Parquet, by one pass.

    Parameters
    ----------
    data : Dataset
        What was checked.
    violations : Violations
        From `headrace.profiling.violations.violations_of`.
    url : str
        A new or empty directory.
    personal : collection of str or None
        Columns of which nothing is shown; None: everything is shown as it is.
    cluster, subscribers
        As in `profile`.
    """
    from headrace.cluster.config import default_cluster, load_cluster
    from headrace.engine.passes import Reader
    from headrace.engine.source import source_of
    from headrace.profiling.violations import export_violations

    if isinstance(cluster, str):
        cluster = load_cluster(cluster)
    with (cluster or default_cluster(data.bytes)).connect() as client:
        reader = Reader(client, subscribers)
        return export_violations(
            reader, source_of(data, data.schema.names), violations, url, personal=personal
        )
