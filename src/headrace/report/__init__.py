"""One self-contained HTML page from a profile or from the documents of a run (templates/ are files).

For maintainers: nothing here measures anything. `cards` and `tables` turn documents into small frozen views,
`histograms`, `categories`, `curves` and `evaluation` turn numbers into marks whose geometry is final, and the
templates write views and marks down. A new chart is a function that returns a `Drawing`; no template changes.
Every value from the data passes through Jinja's escaping; style and script are files, allowed by their hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import headrace
from headrace.accumulators.metrics import primary_metric
from headrace.profiling.checks import check_profile
from headrace.report import numbers, tables
from headrace.report.cards import view
from headrace.report.choices import nested_choices
from headrace.report.curves import learning, measure_bars
from headrace.report.evaluation import figures
from headrace.report.pages import render
from headrace.report.quality import sides
from headrace.report.tables import title
from headrace.report.understanding import understood

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.profiling.exploration import Exploration
    from headrace.profiling.profile import Profile

MARKS = "Numbers are exact, but for those marked ≈, whose bounds stand below each card."


def render_profile(
    profile: Profile,
    exploration: Exploration | None = None,
    *,
    title: str,
    subtitle: str = "",
    provenance: Mapping[str, Any] | None = None,
) -> str:
    """Draw a profile as one HTML page that needs nothing else.

    Parameters
    ----------
    profile : Profile
        What a dataset holds.
    exploration : Exploration, optional
        Pairs, trends and what is missing together; sections of what was not looked for are left out.
    title : str
        The name of the dataset.
    subtitle : str, optional
        One line below the title.
    provenance : mapping, optional
        The document ``provenance.json`` of the dataset, from which the method of collection is judged.

    Returns
    -------
    str
        An HTML document, whose size depends on the number of columns and not on that of rows.
    """
    shown = view(profile, exploration)
    has = {
        "time": shown.explored.timeline,
        "pairs": shown.explored.matrix,
        "missing": shown.explored.absence_facts,
    }
    names = {
        "overview": "Overview",
        "findings": "Findings",
        "quality": "Quality",
        "time": "Over time",
        "pairs": "Pairs",
        "missing": "Missing",
        "columns": "Columns",
    }
    return render(
        "profile.html",
        title=title,
        subtitle=subtitle,
        eyebrow="headrace profile",
        version=headrace.__version__,
        sections=[(key, name) for key, name in names.items() if has.get(key, True)],
        notes=MARKS,
        profile=shown,
        sides=sides(check_profile(profile, provenance=provenance).to_dict()["dimensions"]),
    )


def render_report(documents: Mapping[str, Any]) -> str:
    """Draw the report of a run as one HTML page that needs nothing else.

    Parameters
    ----------
    documents : mapping
        Any of ``workflow`` (the parsed file), ``workflow_text``, ``run``, ``plan``, ``profile`` (a `Profile` of the
        training rows), ``exploration`` (an `Exploration` of them), ``checks``, ``preparation`` (rows with ``column``, ``kind``, ``steps``, ``parameters``),
        ``leaderboard``, ``metrics`` (an assessment as a dict, with ``baseline`` beside it), ``understanding``, ``manifest``. What is
        missing or None is left out of the page.

    Returns
    -------
    str
        An HTML document.

    Notes
    -----
    Of ``run``: ``started``, ``ended``, ``data`` (``url``, ``fingerprint``), ``status``, ``error``, ``data_passes`` (``planned``, ``done``), ``passes`` (per pass ``name``,
    ``chunks``, ``rows``, ``bytes``, ``seconds``), ``peak_rss_bytes`` (see `tables.worker_peaks`), ``seconds`` (per
    stage), ``rows``, ``bytes_read``, ``seed``, ``versions``, ``best`` (``candidate``), ``model_sha256``.
    """
    held = {key: value for key, value in documents.items() if value is not None}
    workflow = held.get("workflow", {})
    problem = workflow.get("problem") or {}
    run, plan, checks = held.get("run", {}), held.get("plan", {}), held.get("checks", {})
    leaderboard, metrics = held.get("leaderboard", {}), held.get("metrics", {})
    profile = view(held["profile"], held.get("exploration")) if "profile" in held else None
    primary = _primary(leaderboard, metrics, problem)
    progress = tables.histories(leaderboard)
    best = _best(leaderboard, run)
    values: dict[str, Any] = {
        "problem": problem,
        "key_figures": _key_figures(run, plan, metrics, primary, best),
        "plan": plan,
        "run": run,
        "passes": tables.pass_rows(plan, run),
        "memory": _memory(plan, run),
        "plan_facts": _plan_facts(plan),
        "stages": _stages(run),
        "checks": tables.order_checks(checks.get("checks", [])),
        "check_states": tables.STATES,
        "sides": sides(checks.get("dimensions", [])),
        "profile": profile,
        "preparation": held.get("preparation", []),
        "leaderboard": tables.candidates(leaderboard),
        "folded": leaderboard.get("folds") if leaderboard.get("folds", 1) > 1 else None,
        "nested": nested_choices(leaderboard),
        "learning": learning(progress, best, title(primary)) if progress else None,
        "metrics": tables.metric_rows(metrics, primary),
        "has_baseline": bool(metrics.get("baseline")),
        "test_rows": metrics.get("rows"),
        "metric_notes": metrics.get("notes", []),
        "figures_of_test": figures(metrics, metrics.get("classes", [])),
        "slices": tables.slices(metrics, primary),
        "primary": title(primary) if primary else "",
        "understood": understood(held.get("understanding", {}), str(metrics.get("task", ""))),
        "facts_of_origin": _origin(run, held.get("manifest", {})),
        "workflow_text": held.get("workflow_text", ""),
    }
    has = {
        "problem": bool(problem),
        "work": bool(values["passes"] or values["memory"] or values["stages"]),
        "checks": bool(values["checks"]),
        "quality": bool(values["sides"]),
        "profile": profile is not None,
        "time": profile is not None and bool(profile.explored.timeline),
        "pairs": profile is not None and profile.explored.matrix is not None,
        "missing": profile is not None and bool(profile.explored.absence_facts),
        "columns": profile is not None,
        "preparation": bool(values["preparation"]),
        "candidates": bool(values["leaderboard"]),
        "evaluation": bool(values["metrics"]),
        "slices": bool(values["slices"]),
        "understanding": values["understood"].anything,
        "provenance": bool(values["facts_of_origin"] or values["workflow_text"]),
    }
    names = {
        "problem": "Problem",
        "evaluation": "Evaluation",
        "slices": "Slices",
        "understanding": "Understanding",
        "candidates": "Candidates",
        "work": "Plan and work",
        "checks": "Checks",
        "quality": "Quality",
        "preparation": "Preparation",
        "profile": "Data",
        "time": "Over time",
        "pairs": "Pairs",
        "missing": "Missing",
        "columns": "Columns",
        "provenance": "Provenance",
    }
    return render(
        "report.html",
        title=str(problem.get("name") or "Run"),
        subtitle=str(problem.get("objective") or ""),
        eyebrow=f"headrace run {run.get('id', '')}".strip(),
        version=headrace.__version__,
        sections=[(key, name) for key, name in names.items() if has[key]],
        verdict=tables.verdict(run, workflow, metrics, checks),
        has=has,
        notes=MARKS,
        **values,
    )


def _primary(leaderboard: Mapping[str, Any], metrics: Mapping[str, Any], problem: Mapping[str, Any]) -> str:
    """Name the metric that decides: the leaderboard's, else that of the task."""
    if leaderboard.get("metric"):
        return str(leaderboard["metric"])
    task = metrics.get("task") or problem.get("task")
    return primary_metric(str(task), len(metrics.get("classes", ())) or 2) if task else ""


def _best(leaderboard: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    named = (run.get("best") or {}).get("candidate")
    if named:
        return str(named)
    return next((str(row.get("candidate")) for row in leaderboard.get("rows", []) if row.get("best")), "")


def _key_figures(
    run: Mapping[str, Any], plan: Mapping[str, Any], metrics: Mapping[str, Any], primary: str, best: str
) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []

    def add(label: str, value: str, mark: str = "") -> None:
        found.append({"label": label, "value": value, "mark": mark})

    estimate = metrics.get("metrics", {}).get(primary)
    if estimate:
        interval = tables.interval_text(estimate)
        add(f"test {title(primary)}", numbers.score(estimate.get("value")), interval and f"95 %: {interval}")
    base = ((metrics.get("baseline") or {}).get("metrics") or {}).get(primary)
    if base:
        add("baseline", numbers.score(base.get("value")), "what a dummy reaches")
    if best:
        add("best candidate", best)
    rows = run.get("rows") or plan.get("rows")
    if rows:
        add(
            "rows",
            numbers.count(rows),
            f"{numbers.count(metrics['rows'])} of them to test" if metrics.get("rows") else "",
        )
    passes = run.get("data_passes") or {}
    if isinstance(passes, dict) and passes.get("done") is not None:
        add(
            "passes over the data",
            str(passes["done"]),
            f"{passes['planned']} planned at most" if passes.get("planned") else "",
        )
    seconds = _stage_seconds(run)
    if seconds:
        add(
            "time",
            numbers.duration(sum(seconds.values())),
            f"{numbers.size(run.get('bytes_read'))} read" if run.get("bytes_read") else "",
        )
    return found


def _origin(run: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Return where the result comes from, as (name, value, whether it is a hash)."""
    held = {
        **(manifest.get("provenance") or {}),
        **{key: run[key] for key in ("seed", "versions") if key in run},
    }
    found = [(key.capitalize(), str(run[key]), False) for key in ("started", "ended") if run.get(key)]
    data = run.get("data") or {}
    found += [
        (f"Data {key}", str(data[key]), key != "url") for key in ("url", "fingerprint") if data.get(key)
    ]
    model = run.get("model_sha256") or manifest.get("model_sha256")
    if model:
        found.append(("Model SHA-256", str(model), True))
    for name, value in held.items():
        label = str(name).replace("_", " ").replace("sha256", "SHA-256")
        label = label[:1].upper() + label[1:]
        if name == "data_fingerprint" and data.get("fingerprint"):
            continue
        if isinstance(value, dict):
            found.append((label, ", ".join(f"{key} {item}" for key, item in value.items()), False))
        elif value is not None:
            found.append((label, str(value), isinstance(value, str) and len(value) >= 32))
    return found


def _stage_seconds(run: Mapping[str, Any]) -> dict[str, float]:
    """Seconds per stage without the sum that a run may write beside them."""
    held = run.get("seconds") or {}
    if isinstance(held, (int, float)):
        return {"run": float(held)}
    return {str(stage): float(value) for stage, value in held.items() if stage not in {"total", "all"}}


def _stages(run: Mapping[str, Any]) -> Any:
    seconds = _stage_seconds(run)
    if len(seconds) < 2:
        return None
    return measure_bars(
        "Seconds per stage", [(stage, value, numbers.duration(value)) for stage, value in seconds.items()]
    )


def _plan_facts(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the short figures of a plan."""
    found = [(name.capitalize(), numbers.count(plan[name])) for name in ("rows", "chunks") if plan.get(name)]
    if plan.get("columns"):
        found.append(("Columns", numbers.count(len(plan["columns"]))))
    if plan.get("workers"):
        threads = f" of {plan['threads']} threads" if plan.get("threads", 1) != 1 else ""
        found.append(("Workers", f"{plan['workers']}{threads}"))
    if plan.get("memory_budget"):
        found.append(("Memory each", numbers.size(plan["memory_budget"])))
    return found


def _memory(plan: Mapping[str, Any], run: Mapping[str, Any]) -> Any:
    """Draw the peak of each worker, and what was projected, against the budget."""
    peaks = tables.worker_peaks(run)
    budget = plan.get("memory_budget") or run.get("memory_budget")
    projected = plan.get("memory_projected")
    rows = [("projected", float(projected), numbers.size(projected))] if projected else []
    ranked = sorted(peaks.items(), key=lambda item: -item[1])[:24]
    rows += [
        (f"worker {index}", float(peak), numbers.size(peak)) for index, (_, peak) in enumerate(ranked, 1)
    ]
    if not rows:
        return None
    return measure_bars("Peak memory", rows, limit=budget, limit_name=f"budget {numbers.size(budget)}")
