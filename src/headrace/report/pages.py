"""The Jinja environment: templates, style and script as files, escaping always on, and a policy that forbids network."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from headrace.report import numbers


@functools.cache
def environment() -> Environment:
    """Return the environment that every page is rendered with."""
    found = Environment(
        loader=PackageLoader("headrace", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        {
            "count": numbers.count,
            "brief": numbers.brief,
            "number": numbers.number,
            "score": numbers.score,
            "share": numbers.share,
            "size": numbers.size,
            "duration": numbers.duration,
            "cut": numbers.cut,
        }
    )
    return found


def _asset(name: str) -> str:
    return resources.files("headrace").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def render(template: str, **values: Any) -> str:
    """Render a page with its style and script inside.

    The content security policy names the hashes of that style and that script, so that nothing else can run even
    if a value slipped through unescaped, and no address can be reached.
    """
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # Both are files of this package, not data: they are the only text that is not escaped.
    return (
        environment()
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), policy=policy, **values)  # noqa: S704 - our own files
    )
