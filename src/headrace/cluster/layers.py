"""A cluster file on top of the file that it extends, with variables of the environment in place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from headrace.errors import WorkflowError
from headrace.optionfile import parse_document, read_text, write_document

MOST_LAYERS = 10
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class Layers:
    """What a cluster file says together with those that it extends, variables not yet in place."""

    text: str
    """The file itself, for line numbers."""
    document: dict[str, Any]
    """All keys, without ``extends``."""
    name: str = "cluster"
    """The file, for messages."""

    def expanded(self) -> dict[str, Any]:
        """Put variables in place.

        Raises
        ------
        WorkflowError
            When one is not set and has no default.
        """
        expanded: dict[str, Any] = _expand(self.document, self.name)
        return expanded

    def hidden(self, text: str) -> str:
        """Put the names of variables back in place of their values."""
        for name, _ in set(_VARIABLE.findall(str(self.document))):
            value = os.environ.get(name)
            if value:
                text = text.replace(value, f"${{{name}}}")
        return text

    def to_yaml(self) -> str:
        """Write all of it as one file that extends nothing, with the names of variables and not their values."""
        return write_document(self.document)


def read_layers(path: str) -> Layers:
    """Read a cluster file and those that it extends.

    Raises
    ------
    WorkflowError
        One is missing or not YAML, or they extend each other in a circle.
    """
    own = text = read_text(path)
    document: dict[str, Any] = {}
    seen = [path]
    here = path
    while True:
        layer = _keys(text, here)
        below = layer.pop("extends", None)
        document = {**layer, **document}
        if below is None:
            return Layers(own, document, path)
        if not isinstance(below, str) or not below:
            raise WorkflowError(f"should be a path, not {below!r}", where=f"{here}: extends")
        here = below if "://" in below or below.startswith("/") else _beside(here, below)
        if here in seen or len(seen) == MOST_LAYERS:
            raise WorkflowError(
                f"extends {here} again" if here in seen else f"extends more than {MOST_LAYERS} files",
                where=f"{seen[-1]}: extends",
                mend="break the circle",
            )
        seen.append(here)
        text = read_text(here)


def _keys(text: str, name: str) -> dict[str, Any]:
    document = parse_document(text, name)
    # what is no mapping is refused with its line when the options are read
    return dict(document) if isinstance(document, dict) else {}


def _beside(path: str, name: str) -> str:
    folder, slash, _ = path.rpartition("/")
    joined = f"{folder}{slash}{name}"
    return joined if "://" in joined else str(PurePosixPath(joined))


def _expand(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, name) for item in value]
    if not isinstance(value, str):
        return value

    def held(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            raise WorkflowError(
                f"the variable {match[1]} is not set",
                where=name,
                mend=f"export {match[1]}=... or write a default",
            )
        return found

    return _VARIABLE.sub(held, value)
