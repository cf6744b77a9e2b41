# ruff: noqa: INP001  a script that Sphinx's configuration and a test load by path
"""What the code says about itself, as pages: the map of the modules, and the reference.

``python docs/generate.py`` writes both; a test fails when the map in `architecture.md` is not what would be written.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import grimp
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src"
ARCHITECTURE = DOCS / "architecture.md"
BEGIN, END = "<!-- map: written by docs/generate.py -->", "<!-- end of map -->"

SECTIONS = (
    ("Ground that all stand on", ("errors", "options", "optionfile")),
    ("Where bytes come from", ("data", "ingesting")),
    ("The mathematics: pure, no files, no Dask", ("accumulators",)),
    ("How everything is read once", ("engine",)),
    ("The stages", ("profiling", "preparation", "training", "evaluation", "packaging")),
    ("Pages", ("report",)),
    ("Where work runs: aside, known to runs and the command line alone", ("cluster",)),
    ("Putting it together", ()),
)
"""Headings, and the folders or modules under each in the order of the data; the last takes whatever is left."""


@cache
def modules() -> dict[str, str]:
    """Return every module of headrace with the first line of its docstring."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        documentation = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[name] = documentation.partition("\n")[0]
    return found


def in_order(names: Iterable[str]) -> list[str]:
    """Sort modules in the order of the data: what a module imports stands before it, then by name."""
    graph = grimp.build_graph("headrace", exclude_type_checking_imports=True, cache_dir=None)
    names = set(names)

    @cache
    def depth(name: str) -> int:
        upstream = graph.find_modules_directly_imported_by(name) & names - {name}
        return 1 + max(map(depth, upstream), default=0)

    return sorted(names, key=lambda name: (depth(name), name))


def sections() -> Iterator[tuple[str, list[str]]]:
    """Yield each heading with its modules, the folder itself before what is in it."""
    left = set(modules()) - {"headrace"}
    for heading, tops in SECTIONS:
        here: list[str] = []
        for top in tops:
            folder = f"headrace.{top}"
            inside = {name for name in left if name.startswith(f"{folder}.")}
            here += [folder, *in_order(inside)]
        left -= set(here)
        yield heading, here or in_order(left)


def module_map() -> str:
    """Return the map as Markdown."""
    lines = [BEGIN]
    for heading, names in sections():
        lines += ["", f"### {heading}", "", "| module | what it is |", "|---|---|"]
        lines += [f"| `{name}` | {modules()[name].replace('|', chr(92) + '|')} |" for name in names]
    return "\n".join([*lines, "", END])


def with_map(page: str) -> str:
    """Return a page whose map is what the code says now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{module_map()}{after}"


def preprocessing() -> str:
    """Return the page of all that may stand under ``prepare:``, one line for each way, from the schema of the options."""
    lines = [
        "# Preprocessing",
        "",
        "Written from the schema: each line may stand in a workflow file, and what is not there is as by default. A key of `numeric`,",
        "`categorical` or `datetime` may also stand under `columns: {NAME: {...}}`, for one column.",
    ]
    for section, model in option_classes().items():
        lines += [
            "",
            f"## {section}",
            "",
            (model.__doc__ or "").partition("\n")[0],
            "",
            "| example | what it does |",
            "|---|---|",
        ]
        for key, field in model.model_fields.items():
            if section == "prepare" and key in {"numeric", "categorical", "datetime"}:
                continue
            for value, words in ways(key, field):
                written = yaml.safe_dump(
                    {key: value}, default_flow_style=True, width=1000, sort_keys=False
                ).strip()
                whole = f"prepare: {written if section == 'prepare' else f'{{{section}: {written}}}'}"
                default = " (default)" if value == field.default else ""
                lines.append(f"| `{whole}` | {words or field.description}{default} |")
    return "\n".join([*lines, ""])


def option_classes() -> dict[str, Any]:
    """Return the options of preparation by section."""
    from headrace.preparation.options import (
        CategoricalOptions,
        DatetimeOptions,
        NumericOptions,
        PrepareOptions,
    )

    return {
        "prepare": PrepareOptions,
        "numeric": NumericOptions,
        "categorical": CategoricalOptions,
        "datetime": DatetimeOptions,
    }


def ways(key: str, field: Any) -> Iterator[tuple[Any, str]]:
    """Yield the values that a key may have, one of each sort, with words where they say more than the key's."""
    from headrace.preparation.meanings import MEANINGS

    models = [] if field.examples else list(_models(field.annotation))
    words = [] if field.examples else _words(field.annotation)
    for value in words:
        yield value, MEANINGS.get(key, {}).get(value, "")
    for model in models:
        if "method" in model.model_fields:
            defaults = {
                key: item.default for key, item in model.model_fields.items() if not item.is_required()
            }
            for method in _words(model.model_fields["method"].annotation):
                yield {"method": method, **defaults}, (model.__doc__ or "").partition("\n")[0]
    shown = field.examples or ([] if words or models or field.default is None else [field.default])
    for value in shown:
        said = {
            name: MEANINGS[name][value[name]]
            for name in ("by", "method")
            if isinstance(value, dict) and name in value
        }
        yield value, " ".join(said.values())


def _models(annotation: Any) -> Iterator[Any]:
    if hasattr(annotation, "model_fields"):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _words(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) is tuple or get_origin(annotation) is dict:
        return []
    return [word for part in get_args(annotation) for word in _words(part)]


def write_reference(directory: Path) -> None:
    """Write one page for each section, from the docstrings."""
    directory.mkdir(exist_ok=True)
    index = [
        "# Reference",
        "",
        "Written from the docstrings, in the order of the data.",
        "",
        "```{toctree}",
        "",
    ]
    for number, (heading, names) in enumerate(sections()):
        page = f"{number}-{heading.partition(':')[0].lower().replace(' ', '-')}"
        index.append(page)
        lines = [f"# {heading}", ""]
        for name in names:
            if name.endswith("__main__"):
                continue
            lines += [f"## {name}", "", "```{eval-rst}", f".. automodule:: {name}", "   :members:", "```", ""]
        (directory / f"{page}.md").write_text("\n".join(lines))
    (directory / "preprocessing.md").write_text(preprocessing())
    index.append("preprocessing")
    (directory / "index.md").write_text("\n".join([*index, "```", ""]))


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_map(ARCHITECTURE.read_text()))
    write_reference(DOCS / "reference")
