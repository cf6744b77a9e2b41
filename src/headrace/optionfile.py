"""A YAML file read into options: each mistake is one line with file, line, key path and nearest key."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from headrace.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

M = TypeVar("M", bound=BaseModel)
KeyPath = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """Scalars as YAML 1.2 reads them: ``off`` and ``NO`` are strings, ``1e-6`` is a number."""


# SafeLoader follows YAML 1.1, where `dashboard: off` is a boolean, `values: [NO]` holds False, `10:30` is 630 and
# `alpha: 1e-6` is a string. All four have bitten writers of workflow files elsewhere.
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?(?:0|[1-9][0-9_]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("float", r"^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$", "-+."),
    ("merge", r"^<<$", "<"),
    (
        "timestamp",
        r"^\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[-+]\d\d:?\d\d)?)?$",
        "0123456789",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


class _Dumper(yaml.SafeDumper):
    """Strings in quotes where `_Loader` would read something else."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def read_options(path: str, model: type[M]) -> M:
    """Read the YAML file at `path` (a local path or any fsspec URL) into `model`.

    Raises
    ------
    WorkflowError
        The file is missing, is not YAML, repeats a key, has an unknown key or a wrong value. The message names
        the first mistake and says how many more there are.
    """
    return parse_options(read_text(path), model, name=path)


def parse_options(
    text: str,
    model: type[M],
    *,
    name: str,
    adjust: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> M:
    """Parse YAML `text` into `model`; `name` stands for the file in messages, `adjust` changes its keys before."""
    document, lines = _parse(text, name)
    if not isinstance(document, dict):
        raise WorkflowError(
            "is empty" if document is None else f"holds a {type(document).__name__}, not keys and values",
            where=name,
            mend=f"first keys: {', '.join(list(model.model_fields)[:4])}",
        )
    if adjust is not None:
        document = adjust(document)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _explain(error, model, document, lines, name) from None


def parse_document(text: str, name: str) -> Any:
    """Parse YAML `text` as options are, into whatever it holds."""
    return _parse(text, name)[0]


def write_document(document: Any) -> str:
    """Write as YAML what `parse_document` reads as the same."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def read_text(path: str) -> str:
    """Read the text of the file at `path`.

    Raises
    ------
    WorkflowError
        It is missing, cannot be read, or is not UTF-8.
    """
    if "://" in path:
        from headrace.data.storage import read_bytes

        data = read_bytes(path)
    else:
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            raise WorkflowError("no such file", where=path, mend="check the path") from None
        except OSError as error:
            raise WorkflowError(f"cannot be read ({error.strerror})", where=path) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WorkflowError(
            f"is not UTF-8 text (byte {error.start})", where=path, mend="is it a YAML file?"
        ) from None


def _parse(text: str, name: str) -> tuple[Any, dict[KeyPath, int]]:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[KeyPath, int] = {}
        if node is not None:
            _walk(node, (), lines, name, frozenset())
        return (None if node is None else loader.construct_document(node)), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name} line {mark.line + 1}" if mark else name
        raise WorkflowError(
            f"is not YAML: {error.problem or error.context}",
            where=where,
            mend="check indentation, quotes and colons there",
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise WorkflowError(f"is not YAML: {error}", where=name, mend="is it a text file?") from None


def _walk(
    node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], name: str, inside: frozenset[int]
) -> None:
    """Note the line of each key; refuse a key that stands twice, and an alias that holds itself."""
    if id(node) in inside:
        raise WorkflowError(
            "an alias refers to itself",
            where=f"{name} line {node.start_mark.line + 1}",
            mend="write the value out",
        )
    if len(lines) > 100_000:
        raise WorkflowError("has more than 100,000 values", where=name, mend="write fewer aliases")
    lines[path] = node.start_mark.line + 1
    inside |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*path, index), lines, name, inside)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            text = str(key.value)
            if text in seen and key.tag != "tag:yaml.org,2002:merge":
                raise WorkflowError(
                    "the key stands twice",
                    where=f"{name} line {key.start_mark.line + 1}: {_dotted((*path, text))}",
                    mend="keep one of them",
                )
            seen.add(text)
            _walk(value, (*path, text), lines, name, inside)
            lines[*path, text] = key.start_mark.line + 1


def _dotted(path: Sequence[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _explain(
    error: ValidationError,
    model: type[BaseModel],
    document: Mapping[str, Any],
    lines: Mapping[KeyPath, int],
    name: str,
) -> WorkflowError:
    """Make one line of all that pydantic found."""
    found: dict[KeyPath, list[Any]] = {}
    for item in error.errors(include_url=False):
        path = _path(item["loc"], document, missing=item["type"] == "missing")
        found.setdefault(path, []).append(item)
    # In the order of the file, and a misspelt key before the key that is missing because of it.
    first = min(found, key=lambda path: (_line(path, lines), found[path][0]["type"] == "missing"))
    what, mend = _sentence(found[first], first, model, document)
    if len(found) > 1:
        what = f"{what} (and {len(found) - 1} more)"
    key = _dotted(first)
    where = f"{name} line {_line(first, lines)}"
    return WorkflowError(what, where=f"{where}: {key}" if key else where, mend=mend)


def _line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _path(loc: Sequence[str | int], document: Any, *, missing: bool) -> KeyPath:
    """Leave out of pydantic's location the names of union members, which are no keys of the file."""
    path: KeyPath = ()
    here = document
    for index, part in enumerate(loc):
        known = (
            part in here if isinstance(here, dict) else isinstance(here, list) and part in range(len(here))
        )
        if known:
            here = here[part]
        elif not (missing and index == len(loc) - 1):
            continue
        path = (*path, part)
    return path


def _sentence(items: Sequence[Any], path: KeyPath, model: type[BaseModel], document: Any) -> tuple[str, str]:
    item = items[0]
    kind = item["type"]
    if kind == "extra_forbidden":
        known = sorted(_properties(model.model_json_schema(), path[:-1], document))
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        return "unknown key", f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    if kind == "missing":
        return "is missing", "add it"
    if kind == "union_tag_not_found":
        return "says no kind", f"add {item['ctx']['discriminator']}"
    if kind == "union_tag_invalid":
        return f"unknown kind {item['ctx']['tag']!r}", f"use one of {item['ctx']['expected_tags']}"
    texts = list(dict.fromkeys(re.sub("^(Value error, |Input |String )", "", one["msg"]) for one in items))
    text = " or ".join([texts[0], *(other.removeprefix("should be ") for other in texts[1:])])
    given = item["input"]
    if kind != "value_error" and isinstance(given, str | int | float | bool | None):
        text = f"{text}, not {given!r}"
    what, _, mend = text.partition("; ")
    return what, mend


def _properties(schema: Mapping[str, Any], path: KeyPath, document: Any) -> set[str]:
    """Give the keys that the schema knows at `path` of `document`."""
    here = [schema]
    value = document
    for part in path:
        value = value[part]
        here = [
            child
            for branch in _branches(schema, here)
            for child in (
                branch.get("properties", {}).get(part)
                or branch.get("items")
                or branch.get("additionalProperties"),
            )
            if isinstance(child, dict)
        ]
    known: set[str] = set()
    for branch in _branches(schema, here):
        properties = branch.get("properties", {})
        tags = {key: spec["const"] for key, spec in properties.items() if "const" in spec}
        if all(value.get(key, tag) == tag for key, tag in tags.items()):
            known |= set(properties)
    return known


def _branches(root: Mapping[str, Any], schemas: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Follow references and unions down to plain objects."""
    plain: list[Mapping[str, Any]] = []
    for schema in schemas:
        if "$ref" in schema:
            plain += _branches(root, [root["$defs"][schema["$ref"].rpartition("/")[2]]])
        elif "anyOf" in schema or "oneOf" in schema:
            plain += _branches(root, schema.get("anyOf", []) + schema.get("oneOf", []))
        else:
            plain.append(schema)
    return plain
