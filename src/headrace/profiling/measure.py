"""One pass: from a dataset to its profile, one for each part of the split."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.accumulators import merge_tree
from headrace.engine.commits import Form
from headrace.engine.order import PARTS, parts_by_hash, parts_by_time, row_keys
from headrace.engine.passes import Reader
from headrace.engine.source import source_of
from headrace.profiling.profile import Profile, compact, merge_profiles, profile_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa
    from distributed import Client
    from numpy.typing import NDArray

    from headrace.data.dataset import Chunk, Dataset
    from headrace.engine.events import Subscriber
    from headrace.engine.source import Source


@dataclass(frozen=True)
class Splitter:
    """How rows are told apart: the test part is never seen before it is assessed."""

    seed: int
    """Seed of the run."""
    test: float = 0.0
    """Share of rows by hash; 0 when split by time."""
    validation: float = 0.0
    """Share of the rows that are left."""
    time: str | None = None
    """Time column, when split by time."""
    test_from: object = None
    """First time of the test part."""

    def parts(self, table: pa.Table, chunk: Chunk) -> NDArray[np.uint8]:
        """Part codes of the rows, shape (rows,). Rows without a time belong to the training part."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        keys = row_keys(chunk)
        if self.time is None:
            return parts_by_hash(keys, test=self.test, validation=self.validation, seed=self.seed)
        column = table.column(self.time)
        later = pc.greater_equal(column, pa.scalar(self.test_from).cast(column.type))
        is_test = np.asarray(pc.fill_null(later, False))
        return parts_by_time(is_test, keys, validation=self.validation, seed=self.seed)


def measure(reader: Reader, source: Source, *, target: str | None, splitter: Splitter) -> dict[str, Profile]:
    """Profile every part of the split in one pass.

    Parameters
    ----------
    reader : Reader
        Runs the pass and counts it.
    source : Source
        The chunks.
    target : str or None
        Everything is also learnt for each of its classes.
    split : Splitter
        How rows are told apart.

    Returns
    -------
    dict of str to Profile
        By part.
    """
    update = partial(_profile_chunk, target=target, splitter=splitter)
    form = Form(dump_profiles, load_profiles)
    profiles: dict[str, Profile] = reader.reduce(source, update, merge_profiles, name="profile", form=form)
    return profiles


def dump_profiles(profiles: dict[str, Profile]) -> list[bytes]:
    """Write profiles as they are, not compacted, as compressed JSON."""
    document: dict[str, Any] = {}
    for part, profile in profiles.items():
        columns = {
            name: {
                "type": column.type,
                "kind": column.kind,
                "by_class": {key: held.state() for key, held in column.by_class.items()},
            }
            for name, column in profile.columns.items()
        }
        # What Profile.to_dict adds for readers takes longer than all else.
        bare = replace(profile, columns={})
        document[part] = {**bare.to_dict(), "columns": columns}
    return [zlib.compress(json.dumps(document, allow_nan=False, separators=(",", ":")).encode(), 1)]


def load_profiles(pieces: list[bytes]) -> dict[str, Profile]:
    """Rebuild from `dump_profiles`."""
    (piece,) = pieces
    return {part: Profile.from_dict(held) for part, held in json.loads(zlib.decompress(piece)).items()}


def merged(profiles: dict[str, Profile]) -> Profile:
    """Return the profile of all parts together."""
    return merge_tree([profiles[part] for part in PARTS], Profile.merge)


def profile_dataset(
    client: Client, dataset: Dataset, target: str | None = None, subscribers: Sequence[Subscriber] = ()
) -> Profile:
    """Profile a whole dataset in one pass.

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
    """
    source = source_of(dataset, dataset.schema.names)
    update = partial(_profile_whole, target=target)
    profiles = Reader(client, subscribers).reduce(source, update, merge_profiles, name="profile")
    return compact(profiles["all"])


def _profile_whole(table: pa.Table, _chunk: Chunk, *, target: str | None) -> dict[str, Profile]:
    return profile_table(table, target=target)


def _profile_chunk(
    table: pa.Table, chunk: Chunk, *, target: str | None, splitter: Splitter
) -> dict[str, Profile]:
    return profile_table(table, target=target, part=splitter.parts(table, chunk), parts=PARTS)
