"""What was learnt of a chunk, kept on storage, so that a later pass reads only chunks that are new or have changed."""

from __future__ import annotations

import hashlib
import json
import pickle
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace import __version__
from headrace.data.footers import file_state
from headrace.data.storage import join, list_names, read_bytes, remove_file, write_bytes
from headrace.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import pyarrow as pa

    from headrace.data.dataset import Chunk
    from headrace.engine.commits import Form
    from headrace.engine.source import Source

ENDING = ".chunk"


@dataclass(frozen=True)
class Remembering:
    """Looks at a chunk, or gives back what was found in it before; sent to the workers by pickle.

    What is found depends on the bytes of the files, the filter, what is done with columns about persons, and the
    settings of the pass: all of it is hashed into the name of the object, so that what has changed is not found.
    """

    update: Callable[[pa.Table, Chunk], Any]
    url: str
    made_by: str
    """Hash of the settings of the pass."""
    form: Form
    """How what is found is written: in one piece."""

    def __call__(self, table: pa.Table, chunk: Chunk) -> Any:
        """Look at a chunk, and keep what was found."""
        found = self.update(table, chunk)
        (piece,) = self.form.dump(found)
        head = json.dumps({"files": [piece.path for piece in chunk.pieces]}).encode()
        write_bytes(self._place(chunk), head + b"\n" + zlib.compress(piece, 1))
        return found

    def recall(self, chunk: Chunk) -> Any:
        """Give back what was found in these bytes before; None when that is not known, or damaged."""
        try:
            _, _, body = read_bytes(self._place(chunk)).partition(b"\n")
            return self.form.load([zlib.decompress(body)])
        except (StorageError, zlib.error, ValueError, KeyError, TypeError):
            return None

    def _place(self, chunk: Chunk) -> str:
        files = [(piece, file_state(piece.path)) for piece in chunk.pieces]
        made = repr((files, chunk.where, chunk.treatments, self.made_by))
        return join(self.url, hashlib.sha256(made.encode()).hexdigest() + ENDING)


def remembering(
    update: Callable[[pa.Table, Chunk], Any], source: Source, url: str | None, form: Form, made_of: object
) -> Callable[[pa.Table, Chunk], Any]:
    """Keep what a pass finds in each chunk at a URL, if there is one.

    `made_of` is all but the source that decides what is found; equal settings are pickled to equal bytes.
    """
    if url is None or not may_remember(source):
        return update
    made = pickle.dumps((__version__, made_of, source.schema, source.embeddings))
    return Remembering(update, url, hashlib.sha256(made).hexdigest(), form)


def may_remember(source: Source) -> bool:
    """Whether the bytes of a chunk decide what is found in it: not where a user's function is applied or rows look back."""
    return source.features is None and source.history is None


def forget(url: str, paths: Collection[str]) -> int:
    """Remove what is kept of chunks with rows of some files; return how many objects these were."""
    removed = 0
    for name in list_names(url):
        if name.endswith(ENDING) and not _files_of(join(url, name)).isdisjoint([*paths, ""]):
            remove_file(join(url, name))
            removed += 1
    return removed


def _files_of(url: str) -> set[str]:
    """Read of which files an object is; one that is damaged may be of any, for which the empty name stands."""
    try:
        head: dict[str, Any] = json.loads(read_bytes(url).partition(b"\n")[0])
        return set(head["files"])
    except (ValueError, KeyError, TypeError):
        return {""}
