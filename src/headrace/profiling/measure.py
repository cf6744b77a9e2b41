"""One pass: from a dataset to its profile, one for each part of the split, and to what finders find."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from headrace.accumulators.detail import FULL
from headrace.accumulators.native import want_loops
from headrace.compiling import worthwhile
from headrace.engine.memory import give_back
from headrace.engine.passes import Reader
from headrace.engine.source import source_of
from headrace.profiling.profile import compact, profile_table
from headrace.profiling.remembering import remembering
from headrace.profiling.slabs import Slab, cut_slabs, deal_finders, kept_detail, rest_of, stored_detail
from headrace.profiling.survey import Survey, look, side_by_side, survey_form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa
    from distributed import Client

    from headrace.accumulators.detail import Detail
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
    splitter: Splitter | None,
    finders: Sequence[Finder] = (),
    slabs: Sequence[Slab] = (),
    detail: Detail = FULL,
    remembered: str | None = None,
    native: bool = False,
) -> Survey:
    """Profile every part of the split in one pass, or in one for each slab, and find what is looked for beside it.

    Parameters
    ----------
    reader : Reader
        Runs the passes and counts them.
    source : Source
        The chunks, with the columns of every finder.
    target : str or None
        Everything is also learnt for each of its classes.
    splitter : Splitter or None
        How rows are told apart; without one all are in the part ``all``.
    finders : sequence of Finder, optional
        What else is looked for; their findings are committed with the profiles. Those that look at more columns than one
        slab reads have a pass of their own.
    slabs : sequence of Slab, optional
        The columns of a very wide table, some at a time; by default all at once.
    detail : Detail, optional
        What is kept of each column of several slabs once all chunks are merged.
    remembered : str, optional
        URL of what was found in each chunk before: those that have not changed are not read.
    native : bool, optional
        Whether values are measured by compiled loops, see `headrace.compiling`; what is found is the same.

    Returns
    -------
    Survey
        Profiles by part, findings by the name of the finder.
    """
    slabs = slabs or (Slab("profile", source, tuple(source.schema.names)),)
    dealt, left = deal_finders(slabs, finders)
    thinned = partial(thin, detail=detail) if len(slabs) > 1 else None
    surveys: list[Survey] = []
    for slab, given in zip(slabs, dealt, strict=True):
        update = partial(_survey_chunk, target=target, splitter=splitter, finders=given, columns=slab.columns)
        quick = partial(_natively, update) if native else update
        form = survey_form(given)
        look_at = remembering(quick, slab.source, remembered, form, update)
        surveys.append(
            reader.reduce(slab.source, look_at, Survey.merge, name=slab.name, form=form, finish=thinned)
        )
    if left:
        rest = rest_of(source, left, splitter.columns if splitter else ())
        update = partial(_look_only, finders=left)
        surveys.append(reader.reduce(rest, update, Survey.merge, name="profile rows", form=survey_form(left)))
    give_back()  # what tasks held that are threads of this process: the next pass takes memory in other sizes
    return side_by_side(surveys, source.schema.names) if len(surveys) > 1 else surveys[0]


def thin(survey: Survey, detail: Detail) -> Survey:
    """Cut the sketches of every column to these sizes; each keeps its stated error."""
    return replace(
        survey, profiles={part: compact(profile, detail) for part, profile in survey.profiles.items()}
    )


def profile_dataset(
    client: Client,
    dataset: Dataset,
    target: str | None = None,
    subscribers: Sequence[Subscriber] = (),
    finders: Sequence[Finder] = (),
) -> Survey:
    """Profile a whole dataset, in one pass unless it is very wide, and find what is looked for beside it.

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
    told_apart = [] if target is None else [target]
    groups = 1 + len(told_apart)  # of a target two classes are taken for granted, as plans do
    slabs = cut_slabs(source, told_apart, groups=groups, chunked=False)
    detail = kept_detail(len(source.schema), groups=groups, memory=dataset.memory)
    survey = measure(
        Reader(client, subscribers),
        source,
        target=target,
        splitter=None,
        finders=finders,
        slabs=slabs,
        detail=detail,
        native=worthwhile(dataset.rows // 16, dataset.memory),  # a run gains far more by the loops
    )
    return thin(survey, stored_detail(slabs, detail))


def _natively(update: Callable[[pa.Table, Chunk], Survey], table: pa.Table, chunk: Chunk) -> Survey:
    want_loops()
    return update(table, chunk)


def _survey_chunk(
    table: pa.Table,
    chunk: Chunk,
    *,
    target: str | None,
    splitter: Splitter | None,
    finders: tuple[Finder, ...],
    columns: tuple[str, ...],
) -> Survey:
    if splitter is None:
        return Survey(profile_table(table, target=target, columns=columns), look(table, chunk, finders))
    profiles: dict[str, Profile] = {}
    for names, codes in splitter.groupings(table, chunk):
        profiles |= profile_table(table, target=target, part=codes, parts=names, columns=columns)
    return Survey(profiles, look(table, chunk, finders))


def _look_only(table: pa.Table, chunk: Chunk, *, finders: tuple[Finder, ...]) -> Survey:
    return Survey({}, look(table, chunk, finders))
