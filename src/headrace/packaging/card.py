"""The model card: one Markdown page for whoever has to trust the model."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from headrace.packaging.signature import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.packaging.signature import InputColumn, Signature

LOWER_IS_BETTER = frozenset({
    "log_loss", "brier", "calibration_error", "mse", "rmse", "mae", "median_absolute_error", "inertia",
})  # fmt: skip
MAX_SLICES = 20
ASKED = {
    "owner": "Who answers for it (problem.owner)",
    "intended_use": "By whom and for which decisions it is to be used (problem.intended_use)",
    "out_of_scope": "What it must not be used for (problem.out_of_scope)",
    "limits": "Where it is known not to work (problem.limits)",
    "risks": "What may go wrong in use (problem.risks)",
    "success": "What would have been good enough (problem.success)",
}
"""What a review asks that only people can answer, after Mitchell et al., "Model cards for model reporting", FAT* 2019."""
_MARKS = re.compile(r"([\\`*\[\]|~])")


def render_card(
    card: dict[str, Any],
    *,
    signature: Signature,
    metrics: dict[str, Any],
    provenance: dict[str, Any],
    model_sha256: str,
    trusted: Sequence[str],
    gates: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Render the card of a model as Markdown.

    Parameters
    ----------
    card : dict
        What the workflow says; every key may be missing: ``name``, ``objective``, ``statement``, ``owner``,
        ``intended_use``, ``out_of_scope`` (list), ``data_needs``, ``risks`` (list), ``limits`` (list), ``success`` (list of
        criteria), ``training`` and ``data`` (name to value; ``pii`` maps columns to what was done with them),
        ``metric`` (the one that decides), ``verdict``, ``run``.
    signature : Signature
        What the model takes and gives.
    metrics : dict
        ``metrics`` (name to a number or to ``value``, ``low``, ``high``), ``slices`` (column to value to
        ``rows`` and ``metrics``), ``rows`` and ``baseline``, a document of the same form; each may be missing.
    provenance : dict
        Data fingerprint, versions, seed, workflow hash.
    model_sha256 : str
        The hash of what was learnt.
    trusted : sequence of str
        What has to be named to skops beyond its defaults.
    gates : mapping of str to dict, optional
        What the gate of each kind of export has found.

    Returns
    -------
    str
        Markdown; text from the data cannot break a table or bring in HTML.
    """
    name = str(card.get("name") or signature.target or "model")
    deciding = headline(metrics, card.get("metric"))
    baseline = metrics.get("baseline") or {}
    data = dict(card.get("data") or {})
    pii = data.pop("pii", None) or {}
    return template("card.md.j2").render(
        name=name,
        pii=pii,
        gates=gates or {},
        open_questions=[question for key, question in ASKED.items() if not card.get(key)],
        card={**card, "data": flat(data), "training": flat(card.get("training") or {})},
        signature=signature,
        rows=metrics.get("rows"),
        metrics={key: estimate(value) for key, value in metrics.get("metrics", {}).items()},
        baseline={key: estimate(value) for key, value in baseline.get("metrics", {}).items()},
        metric=deciding[0] if deciding else None,
        slices=worst_slices(metrics, deciding[0]) if deciding else [],
        provenance=flat(provenance),
        model_sha256=model_sha256,
        trusted=list(trusted),
        needs_headrace=any(kind.startswith("headrace.") for kind in trusted),
        example=[(column.name, _example(column)) for column in signature.inputs],
    )


def estimate(value: Any) -> dict[str, Any]:
    """Read a metric: a number, or a document with ``value``, ``low`` and ``high``."""
    if isinstance(value, dict):
        return {part: plain(value.get(part)) for part in ("value", "low", "high")}
    return {"value": plain(value), "low": None, "high": None}


def headline(metrics: dict[str, Any], preferred: str | None = None) -> tuple[str, float] | None:
    """Name and value of the metric that stands for the model.

    The preferred one, else ``metrics["primary"]``, else the first that has a value.

    Examples
    --------
    >>> headline({"metrics": {"roc_auc": {"value": 0.75, "low": 0.7, "high": 0.8}}})
    ('roc_auc', 0.75)
    """
    values = {name: estimate(value)["value"] for name, value in metrics.get("metrics", {}).items()}
    for name in (preferred, metrics.get("primary"), *values):
        if name in values and isinstance(values[name], (int, float)):
            return name, float(values[name])
    return None


def worst_slices(metrics: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    """Slices of the test data by `metric`, the worst first, at most 20."""
    found = []
    for column, values in metrics.get("slices", {}).items():
        for value, held in values.items():
            measured = estimate(held.get("metrics", {}).get(metric))
            if measured["value"] is not None:
                found.append({"column": column, "value": value, "rows": held.get("rows"), "metric": measured})
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    found.sort(key=lambda row: (-sign * row["metric"]["value"], row["column"], str(row["value"])))
    return found[:MAX_SLICES]


def flat(document: dict[str, Any], above: str = "") -> dict[str, Any]:
    """One row a leaf: ``{"versions": {"numpy": "2"}}`` becomes ``{"versions: numpy": "2"}``."""
    rows: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            rows |= flat(value, f"{above}{key}: ")
        else:
            rows[f"{above}{key}"] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return rows


def _example(column: InputColumn) -> str:
    if column.kind == "string":
        return repr(column.categories[0] if column.categories else "")
    if column.kind == "datetime":
        return f"numpy.datetime64({str(column.minimum or '2000-01-01')[:19]!r})"
    if isinstance(column.minimum, (int, float)):
        return repr(float(column.minimum))
    return "0.0"


def _cell(value: Any) -> str:
    """One line of Markdown that shows `value` as it is."""
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(r"\\\1", text)


def _interval(measured: dict[str, Any]) -> str:
    if measured.get("low") is None or measured.get("high") is None:
        return ""
    return f"{_cell(measured['low'])} to {_cell(measured['high'])}"


@cache
def template(name: str) -> jinja2.Template:
    """Load a template of Markdown; what comes from data goes through its filter `cell`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,  # noqa: S701 - the page is Markdown; every value goes through `cell`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cell"] = _cell
    environment.filters["literal"] = repr  # Python source that gives the value back
    environment.filters["interval"] = _interval
    return environment.get_template(name)
