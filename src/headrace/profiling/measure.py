"""One pass: from a dataset to its profile, one for each part of the split, and to what finders find."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from headrace.engine.passes import Reader
from headrace.engine.source import source_of
from headrace.profiling.profile import compact, profile_table
from headrace.profiling.survey import Survey, look, survey_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from distributed import Client

    from headrace.data.dataset import Chunk, Dataset
    from headrace.engine.events import Subscriber
    from headrace.engine.source import Source
    from headrace.engine.splits import Splitter
    from headrace.profiling.profile import Profile
    from headrace.profiling.survey import Finder


def measure(
    reader: Reader,
    source: Source,
    *,
    target: str | None,
    splitter: Splitter,
    finders: Sequence[Finder] = (),
) -> Survey:
    """Profile every part of the split in one pass, and find what is looked for beside it.

    Parameters
    ----------
    reader : Reader
        Runs the pass and counts it.
    source : Source
        The chunks, with the columns of every finder.
    target : str or None
        Everything is also learnt for each of its classes.
    splitter : Splitter
        How rows are told apart.
    finders : sequence of Finder, optional
        What else is looked for; their findings are committed with the profiles.

    Returns
    -------
    Survey
        Profiles by part, findings by the name of the finder.
    """
    update = partial(_survey_chunk, target=target, splitter=splitter, finders=tuple(finders))
    survey: Survey = reader.reduce(source, update, Survey.merge, name="profile", form=survey_form(finders))
    return survey


def profile_dataset(
    client: Client,
    dataset: Dataset,
    target: str | None = None,
    subscribers: Sequence[Subscriber] = (),
    finders: Sequence[Finder] = (),
) -> Survey:
    """Profile a whole dataset in one pass, and find what is looked for beside it.

    Parameters
    ----------
    client : distributed.Client
        Where the work runs.
    dataset : Dataset
        What is profiled.
    target : str, optional
        Everything is also learnt for each of its classes.
    subscribers : sequence of callables, optional
        Told of every event.
    finders : sequence of Finder, optional
        What else is looked for.

    Returns
    -------
    Survey
        With one part, ``all``, compacted.
    """
    source = source_of(dataset, dataset.schema.names)
    update = partial(_survey_whole, target=target, finders=tuple(finders))
    survey: Survey = Reader(client, subscribers).reduce(source, update, Survey.merge, name="profile")
    return replace(survey, profiles={"all": compact(survey.whole)})


def _survey_whole(
    table: pa.Table, chunk: Chunk, *, target: str | None, finders: tuple[Finder, ...]
) -> Survey:
    return Survey(profile_table(table, target=target), look(table, chunk, finders))


def _survey_chunk(
    table: pa.Table, chunk: Chunk, *, target: str | None, splitter: Splitter, finders: tuple[Finder, ...]
) -> Survey:
    profiles: dict[str, Profile] = {}
    for names, codes in splitter.groupings(table, chunk):
        profiles |= profile_table(table, target=target, part=codes, parts=names)
    return Survey(profiles, look(table, chunk, finders))
