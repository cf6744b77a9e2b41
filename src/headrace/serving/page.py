"""The page of a server: one file of HTML, style and script, and the document that it shows."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from headrace import __version__
from headrace.packaging.signature import finite
from headrace.serving.examples import example, is_whole
from headrace.serving.routing import CHAMPION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.serving.loading import Slot


@functools.cache
def page() -> tuple[str, str]:
    """Render the page.

    Returns
    -------
    text : str
        HTML.
    policy : str
        The content security policy: its own style and script by their hashes, and requests to this server alone.
    """
    style, script = f"{_asset('page.css')}\n{_asset('serve.css')}", _asset("serve.js")
    policy = (
        f"default-src 'none'; img-src data:; connect-src 'self'; style-src 'sha256-{_digest(style)}'; "
        f"script-src 'sha256-{_digest(script)}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    environment = Environment(
        loader=PackageLoader("headrace", "templates"), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template("serve.html").render(
        # Both are files of this package, not data: they are the only text that is not escaped.
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        version=__version__,
    )
    return text, policy


def described(slots: Mapping[str, Slot], *, live: dict[str, Any], drift: Any) -> dict[str, Any]:
    """Describe what is served: inputs with their examples, card, arms, live figures, drift when it is watched."""
    slot = slots[CHAMPION]
    signature = slot.predictor.signature
    return {
        "model": slot.version,
        "task": signature.task,
        "target": signature.target,
        "classes": list(signature.classes),
        "inputs": [
            {
                "name": column.name,
                "kind": column.kind,
                "whole": is_whole(column),
                "nullable": column.nullable,
                "minimum": column.minimum,
                "maximum": column.maximum,
                "categories": None
                if column.categories is None
                else [str(each) for each in column.categories],
                "example": example(column),
            }
            for column in signature.asked
        ],
        "card": slot.card,
        "arms": [
            {"arm": each.arm, "model": each.version, "runtime": each.predictor.runtime}
            for each in slots.values()
        ],
        "live": live,
        "drift": finite(drift),
    }


def _asset(name: str) -> str:
    return resources.files("headrace").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
