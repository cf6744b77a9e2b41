"""Tables for people: a profile, checks, a plan, models."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from headrace.cli.output import can_draw, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from headrace.profiling.checks import CheckReport
    from headrace.profiling.profile import ColumnProfile, Profile

BARS = "▁▂▃▄▅▆▇█"
BINS = 10
FEW_EPOCHS = 3
"""Epochs of a plan that are shown one by one."""
MOST_CANDIDATES = 15
"""Candidates of a leaderboard that are shown; the file has them all."""
MOST_COLUMNS = 200
"""Columns shown; the file has them all."""


def profile_tables(profile: Profile, *, title: str) -> Iterator[RenderableType]:
    """Show a profile: a heading, the numbers and times, the categories and texts, and what is exact."""
    yield _heading(profile, title)
    columns = list(profile.columns.values())
    shown = columns[:MOST_COLUMNS]
    numbers = [column for column in shown if column.kind in {"numeric", "datetime"}]
    others = [column for column in shown if column.kind not in {"numeric", "datetime"}]
    if numbers:
        yield _numbers(numbers)
    if others:
        yield _others(others)
    if len(columns) > len(shown):
        yield f"... and {len(columns) - len(shown)} more columns, all in the profile"
    yield _precision(columns)


def check_table(report: CheckReport) -> Table:
    """Show the outcomes of checks, the worst first; what many columns pass is one row."""
    table = _table("", "check", "column", "figure", "", "detail")
    colours = {"pass": "green", "warn": "yellow", "fail": "bold red"}
    passed = Counter(check.name for check in report.having("pass"))
    for check in report.checks:
        if check.status == "pass" and passed[check.name] > 1:
            continue
        _add(
            table,
            check.status,
            check.name,
            check.column,
            check.figure,
            "exact" if check.exact else "approx.",
            check.detail,
            style=colours[check.status] if check.status != "pass" else None,
        )
    for name, count in passed.items():
        if count > 1:
            _add(table, "pass", name, f"{count} columns", "", "", "")
    return table


def comparison_table(document: Mapping[str, Any]) -> Table:
    """Show the columns of two data sets, those that differ most first."""
    from headrace.report.comparison import comparison_rows

    heads = ("column", "", ">missing A", ">missing B", ">mean A", ">mean B", ">PSI", "distance")
    table = _table(*heads)
    rows = comparison_rows(dict(document))
    colours = {"moved": "bold red", "moved a little": "yellow", "alike": None, "not compared": None}
    for row in rows[:MOST_COLUMNS]:
        _add(table, *row, style=colours.get(row[1], "bold red"))
    if len(rows) > MOST_COLUMNS:
        _add(table, f"... {len(rows) - MOST_COLUMNS} more", *[""] * (len(heads) - 1))
    return table


def dimension_table(report: CheckReport) -> Table:
    """Show the six scores of quality with their reasons."""
    table = _table("quality", ">score", "because")
    for each in report.dimensions:
        score = "unknown" if each.score is None else str(each.score)
        _add(table, each.name, score, "; ".join(each.reasons))
    return table


def plan_table(document: Mapping[str, Any]) -> Table:
    """Show the passes of a plan."""
    total = document["passes"]
    timed = all(item.get("seconds") is not None for item in total)
    table = _table("pass", ">chunks", ">rows", ">bytes", *([">about"] if timed else []))
    runs: list[list[Mapping[str, Any]]] = []
    for item in total:
        if runs and _alike(runs[-1][0], item):
            runs[-1].append(item)
        else:
            runs.append([item])
    # Many epochs are alike: one row says it for all of them.
    shown = [part for run in runs for part in ([run] if len(run) > FEW_EPOCHS else [[each] for each in run])]
    for run in shown:
        first, last = run[0], run[-1]
        name = first["name"] if first is last else f"{first['name']} to {last['name'].split()[-1]}, each"
        cells = [name, f"{first['chunks']:,}", f"{first['rows']:,}", size(first["bytes"])]
        _add(table, *cells, *([duration(first["seconds"])] if timed else []))
    cells = [
        f"at most {len(total)}",
        f"{sum(item['chunks'] for item in total):,}",
        f"{sum(item['rows'] for item in total):,}",
        size(sum(item["bytes"] for item in total)),
    ]
    _add(table, *cells, *([duration(sum(item["seconds"] for item in total))] if timed else []), style="bold")
    return table


def leaderboard_table(document: Mapping[str, Any]) -> Table:
    """Show the leaderboard: the first candidates and the baselines, with intervals when there are folds."""
    metric, folds = document["metric"], document.get("folds", 1)
    table = _table(
        "candidate", f">{metric}", *([">95 % interval", ">to the best"] if folds > 1 else []), ">fit", ">a row", ">numbers", ""
    )  # fmt: skip
    rows = document["rows"]
    shown = [row for row in rows if not row["is_baseline"]][:MOST_CANDIDATES]
    for row in [*shown, *(row for row in rows if row["is_baseline"])]:
        score, apart, low_high = row["validation"].get(metric), row["difference"], row["interval"]
        spread = "" if low_high is None else f"{low_high[0]:.4f} to {low_high[1]:.4f}"
        against = (
            "" if apart is None else f"{apart['value']:+.4f} ({apart['low']:+.4f} to {apart['high']:+.4f})"
        )
        micro, learnt = row["prediction_microseconds"], row["complexity"]
        words = [
            word
            for word, said in (
                ("best", row["best"]), ("simplest within 1 SE", row["simplest"]), ("baseline", row["is_baseline"]),
                ("failed", row["failure"]), (f"dropped after {row['dropped_after_rows'] or 0:,} rows", row["dropped_after_rows"]),
            )
            if said
        ]  # fmt: skip
        _add(
            table,
            row["candidate"],
            "" if score is None else f"{score:.4f}",
            *([spread, against] if folds > 1 else []),
            duration(row["seconds"]),
            "" if micro is None else f"{micro:.2g} µs",
            "" if learnt is None else f"{learnt:,}",
            ", ".join(words),
        )
    return table


def _alike(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two passes are epochs, or steps, that read the same."""
    keys = ("chunks", "rows", "bytes", "seconds")
    kind, other = (each["name"].rpartition(" ")[0] for each in (left, right))
    numbered = kind == other and kind.endswith(("epoch", "step"))
    return numbered and all(left.get(key) == right.get(key) for key in keys)


def models_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Show the versions of models."""
    table = _table("model", ">version", "alias", "status", "task", ">metric", "created", "sha256")
    for row in rows:
        value = row["value"]
        metric = (
            f"{row['metric']} {value:.4f}" if isinstance(value, int | float) else str(row["metric"] or "")
        )
        _add(
            table,
            row["name"],
            str(row["version"]),
            row["alias"] or "",
            row["status"] or "",
            row["task"] or "",
            metric,
            str(row["created"])[:16],
            str(row["model_sha256"])[:12],
        )
    return table


def side_by_side(names: Sequence[str], document: Mapping[str, Any]) -> Table:
    """Show two models side by side, as `compare_packages` describes them."""
    table = _table("", *(f">{name}" for name in names))
    for metric, estimates in document["metrics"].items():
        _add(table, metric, *(_estimated(estimate) for estimate in estimates))
    for name in dict.fromkeys(name for model in document["models"] for name in model["files"]):
        held = [model["files"].get(name) for model in document["models"]]
        _add(table, name, *("" if count is None else size(count) for count in held))
    _add(table, "all files", *(size(model["bytes"]) for model in document["models"]))
    _add(table, "created", *(str(model["created"])[:16] for model in document["models"]))
    _add(table, "sha256", *(model["model_sha256"][:12] for model in document["models"]))
    return table


def _estimated(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return ""
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.4f}"
    return f"{estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]"


def histogram(column: ColumnProfile) -> str:
    """Draw the distribution between the percentiles 1 and 99 in equal bins, from the quantile sketch."""
    sketch = column.overall.quantiles
    if sketch is None or not sketch.n or not can_draw():
        return ""
    low, high = sketch.quantile([0.01, 0.99])
    if not low < high:
        return BARS[-1]
    edges = [low + (high - low) * i / BINS for i in range(BINS + 1)]
    upto = sketch.cdf([math.nextafter(low, -math.inf), *edges[1:]])
    shares = [b - a for a, b in pairwise(upto)]
    top = max(shares)
    return "".join(BARS[round(share / top * (len(BARS) - 1))] if share > 0 else " " for share in shares)


def _heading(profile: Profile, title: str) -> str:
    text = f"{title}: {profile.rows:,} rows, {len(profile.columns):,} columns"
    if profile.classes:
        shares = ", ".join(
            f"{label} {count / max(1, profile.rows):.1%}"
            for label, count in sorted(profile.classes.items(), key=lambda item: -item[1])[:8]
        )
        text += f"; {profile.target}: {shares}"
    return text


def _numbers(columns: Sequence[ColumnProfile]) -> Table:
    table = _table(
        *("column", "type", ">missing", ">distinct", ">mean", ">std", ">min", ">p5", ">p50", ">p95", ">max"),
        "shape",
    )
    for column in columns:
        whole = column.overall
        cells = [""] * 7
        if whole.moments is not None and whole.moments.n:
            moments = whole.moments
            spread = "" if column.kind == "datetime" else f"{moments.std:.4g}"
            values = [moments.mean, moments.minimum, *column.quantile([0.05, 0.5, 0.95]), moments.maximum]
            mean, *rest = (_shown(column, value) for value in values)
            cells = [mean, spread, *rest]
        _add(
            table, column.name, _type(column), _missing(column), _distinct(column), *cells, histogram(column)
        )
    return table


def _others(columns: Sequence[ColumnProfile]) -> Table:
    table = _table("column", "type", ">missing", ">distinct", ">length", "most frequent values")
    for column in columns:
        whole = column.overall
        length = ""
        if whole.lengths is not None and whole.lengths.n:
            low, high = whole.lengths.minimum, whole.lengths.maximum
            length = f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
        top = ", ".join(
            f"{_short(column.shown(value))} {count / whole.rows:.1%}" for value, count in column.top(6)
        )
        distinct = "" if column.kind == "other" else _distinct(column)
        _add(table, column.name, _type(column), _missing(column), distinct, length, top)
    return table


def _precision(columns: Sequence[ColumnProfile]) -> str:
    """Say what is exact, and how far off the rest can be."""
    sketches = [column.overall.quantiles for column in columns if column.overall.quantiles is not None]
    rank = max((sketch.rank_error for sketch in sketches), default=0.0)
    distinct = max((column.overall.distinct.relative_error for column in columns), default=0.0)
    plus_minus = "±" if can_draw() else "+-"
    parts = ["counts, extremes, means and deviations exact"]
    parts.append(f"percentiles {plus_minus} {rank:.2%} of rank" if rank else "percentiles exact")
    if distinct:
        parts.append(f"~ distinct {plus_minus} {distinct:.1%}")
    return "; ".join(parts)


def _table(*heads: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if can_draw() else box.ASCII, pad_edge=False, header_style="bold")
    for head in heads:
        right = head.startswith(">")
        table.add_column(head.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    return table


def _add(table: Table, *cells: str, style: str | None = None) -> None:
    """Add a row; a column named ``[red]`` is text, not markup."""
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells), style=style)


def _shown(column: ColumnProfile, value: float) -> str:
    if column.kind != "datetime":
        return f"{value:.5g}" if math.isfinite(value) else str(value)
    text = column.shown(value)
    return text[:10] if "[day" in column.type or text[10:].strip(" 0:.") == "" else text[:16]


def _type(column: ColumnProfile) -> str:
    return {"large_string": "string", "double": "float64", "float": "float32", "bool": "boolean"}.get(
        column.type, column.type
    )


def _missing(column: ColumnProfile) -> str:
    whole = column.overall
    if not whole.missing or not whole.rows:
        return "0"
    share = whole.missing / whole.rows
    return f"{share:.1%}" if share >= 0.001 else f"{whole.missing:,}"


def _distinct(column: ColumnProfile) -> str:
    return f"{'' if column.overall.distinct.exact else '~'}{column.distinct:,.0f}"


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:21]}..."
