"""A profile as JSON text, a line for each column, so that no more than one of them is there as a document at a time (pure)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.profiling.profile import ColumnProfile, Profile

SCHEMA_VERSION = 1


def profile_lines(profile: Profile) -> Iterator[bytes]:
    """Write `Profile.to_dict` piece by piece: of thousands of columns the whole takes many times the memory of what it says."""
    yield _text(head(profile))[:-1] + b',"columns":{\n'
    for number, (name, column) in enumerate(profile.columns.items()):
        yield (b",\n" if number else b"") + _text(name) + b":" + _text(column_document(column))
    yield b'\n},"gram":' + _text(profile.gram.state() if profile.gram else None) + b"}\n"


def head(profile: Profile) -> dict[str, Any]:
    """Return what a document says of the profile as a whole."""
    names = ("rows", "target", "classes", "classes_overflow")
    return {"schema_version": SCHEMA_VERSION, **{name: getattr(profile, name) for name in names}}


def column_document(column: ColumnProfile) -> dict[str, Any]:
    """Return what a document says of one column."""
    return {
        "type": column.type,
        "kind": column.kind,
        "overall": column.overall.result(),
        "by_class": {key: part.state() for key, part in column.by_class.items()},
    }


def _text(document: Any) -> bytes:
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
