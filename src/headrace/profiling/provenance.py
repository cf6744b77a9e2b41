"""Where a dataset comes from, as ``provenance.json`` beside its files tells."""

from __future__ import annotations

from typing import Any

from headrace.data.storage import exists, join, read_json
from headrace.errors import InputError, StorageError

FILES = ("provenance.json", "_ingest/provenance.json")
"""Where a person, and where `headrace ingest`, writes it."""


def read_provenance(url: str) -> dict[str, Any] | None:
    """Read the provenance of a dataset.

    Parameters
    ----------
    url : str
        Of a directory, a file, or a glob; the document is looked for in it and beside it.

    Returns
    -------
    dict or None
        None when there is none, or it cannot be read.
    """
    above = url.rstrip("/").rpartition("/")[0]
    for place in dict.fromkeys([url, above]):
        if not place or "*" in place:
            continue
        try:
            for name in FILES:
                if exists(join(place, name)):
                    document = read_json(join(place, name))
                    return document if isinstance(document, dict) else None
        except (StorageError, InputError):
            return None
    return None
