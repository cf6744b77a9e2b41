"""The tables of a run's report as plain data: verdict, passes, memory, checks, candidates, slices, provenance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.accumulators.metrics import HIGHER_IS_BETTER, meets
from headrace.report import numbers
from headrace.report.curves import whisker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.report.marks import Drawing

MOST_SLICES = 60
STATES = {"pass": "✓ pass", "warn": "! warn", "fail": "✗ fail"}


@dataclass(frozen=True)
class Verdict:
    """Whether the run did what it was to do."""

    tone: str
    """``good``, ``warn`` or ``bad``."""
    sign: str
    word: str
    reasons: tuple[tuple[str, str], ...]
    """Pairs of what was asked and what was found."""


def verdict(
    run: Mapping[str, Any],
    workflow: Mapping[str, Any],
    metrics: Mapping[str, Any],
    checks: Mapping[str, Any],
) -> Verdict:
    """Judge a run by its success criteria; without any, by whether it ended.

    Parameters
    ----------
    run, workflow, metrics, checks : mapping
        Documents of the run, empty where they are missing.
    """
    measured = metrics.get("metrics", {})
    if not measured:
        failed = [check for check in checks.get("checks", []) if check.get("status") == "fail"]
        if failed and (workflow.get("checks") or {}).get("on_fail") != "warn":
            reasons = tuple(
                (" ".join(filter(None, (check.get("column"), check.get("name")))), check.get("figure", ""))
                for check in failed[:8]
            )
            return Verdict("bad", "✗", "Stopped: the data failed its checks", reasons)
        error = str(run.get("error") or run.get("status") or "")
        return Verdict("bad", "✗", "The run did not end", ((error, ""),) if error else ())
    criteria = (workflow.get("problem") or {}).get("success") or []
    if not criteria:
        return Verdict("warn", numbers.MISSING, "Done, without success criteria to judge it by", ())
    met = True
    judged: list[tuple[str, str]] = []
    for criterion in criteria:
        name = str(criterion["metric"])
        limits = {key: criterion[key] for key in ("at_least", "at_most") if criterion.get(key) is not None}
        value = measured.get(name, {}).get("value")
        good = meets(name, value, **limits)
        met = met and good
        asked = " and ".join(
            f"{key.replace('_', ' ')} {numbers.number(limit)}" for key, limit in limits.items()
        )
        found = f"{'met' if good else 'missed'}: {estimate_text(measured.get(name, {}))}"
        judged.append((f"{title(name)} {asked}", found))
    word = "Success criteria met" if met else "Success criteria missed"
    return Verdict("good" if met else "bad", "✓" if met else "✗", word, tuple(judged))


def title(metric: str) -> str:
    """Write the name of a metric as people do.

    Examples
    --------
    >>> title("roc_auc"), title("log_loss"), title("r2")
    ('ROC AUC', 'log loss', 'R²')
    """
    special = {"r2": "R²", "mse": "MSE", "rmse": "RMSE", "mae": "MAE", "f1": "F1", "brier": "Brier score"}
    if metric in special:
        return special[metric]
    return (
        metric.replace("_", " ")
        .replace("roc auc", "ROC AUC")
        .replace("f1 ", "F1 ")
        .replace(" ovr", " one-vs-rest")
    )


def interval_text(estimate: Mapping[str, Any]) -> str:
    """Write the 95 % interval of an estimate, or "" when there is none."""
    low, high = estimate.get("low"), estimate.get("high")
    if low is None or high is None:
        return ""
    return f"{numbers.span(numbers.score(low), numbers.score(high))}"


def estimate_text(estimate: Mapping[str, Any]) -> str:
    """Write an estimate with its interval."""
    interval = interval_text(estimate)
    value = numbers.score(estimate.get("value"))
    return f"{value} ({interval})" if interval else value


@dataclass(frozen=True)
class MetricRow:
    """One metric of the best candidate beside the baseline."""

    name: str
    value: str
    interval: str
    baseline: str
    tone: str
    """``good`` or ``bad`` where it is better or worse than the baseline, "" where that cannot be said."""
    arrow: str
    """Which way is better."""


def metric_rows(metrics: Mapping[str, Any], primary: str) -> tuple[MetricRow, ...]:
    """Return all metrics, the primary one first, beside those of the baseline."""
    measured: Mapping[str, Any] = metrics.get("metrics", {})
    guessed: Mapping[str, Any] = (metrics.get("baseline") or {}).get("metrics", {})
    rows = []
    for name in sorted(measured, key=lambda name: name != primary):
        value, base = measured[name].get("value"), guessed.get(name, {}).get("value")
        direction = HIGHER_IS_BETTER.get(name)
        tone = ""
        if value is not None and base is not None and direction is not None and value != base:
            tone = "good" if (value > base) == direction else "bad"
        rows.append(
            MetricRow(
                title(name),
                numbers.score(value),
                interval_text(measured[name]),
                numbers.score(base),
                tone,
                {True: "higher is better", False: "lower is better", None: ""}[direction],
            )
        )
    return tuple(rows)


@dataclass(frozen=True)
class PassRow:
    """One pass as planned and as done."""

    name: str
    planned: Mapping[str, Any] | None
    done: Mapping[str, Any] | None
    state: str


def pass_rows(plan: Mapping[str, Any], run: Mapping[str, Any]) -> tuple[PassRow, ...]:
    """Lay the passes of the plan beside those that the reader counted, matched by name.

    Examples
    --------
    >>> rows = pass_rows({"passes": [{"name": "profile", "rows": 5}, {"name": "epoch 1", "rows": 5}]},
    ...                  {"passes": [{"name": "profile", "rows": 5}]})
    >>> [(row.name, row.state) for row in rows]
    [('profile', 'as planned'), ('epoch 1', 'not needed')]
    """
    planned = {item["name"]: item for item in plan.get("passes", [])}
    done = {item["name"]: item for item in run.get("passes", [])}
    rows = []
    for name in [*planned, *(name for name in done if name not in planned)]:
        if name not in done:
            state = "not needed" if done else ""
        elif name not in planned:
            state = "not planned"
        else:
            state = "as planned" if done[name].get("rows") == planned[name].get("rows") else "rows differ"
        rows.append(PassRow(name, planned.get(name), done.get(name), state))
    return tuple(rows)


def worker_peaks(run: Mapping[str, Any]) -> dict[str, int]:
    """Return the peak resident bytes of each worker, by worker.

    ``peak_rss_bytes`` may be ``{"workers": {address: bytes}, ...}``, ``{address: bytes}`` or one number.
    """
    peaks = run.get("peak_rss_bytes") or {}
    if isinstance(peaks, (int, float)):
        return {"worker": int(peaks)}
    workers = peaks.get("workers", peaks)
    if not isinstance(workers, dict):
        return {f"worker {index}": int(value) for index, value in enumerate(workers, 1)}
    skipped = {"total", "all"}
    return {str(name): int(value) for name, value in workers.items() if name not in skipped}


@dataclass(frozen=True)
class Candidate:
    """One row of the leaderboard."""

    name: str
    estimator: str
    settings: str
    score: str
    others: tuple[tuple[str, str], ...]
    epochs: str
    seconds: float | None
    best: bool
    is_baseline: bool
    failure: str
    """Why it was given up, if it was."""
    interval: str = ""
    """Of the mean over folds."""
    difference: str = ""
    """To the best, paired by fold, with its interval."""
    costs: tuple[tuple[str, str], ...] = ()
    """Bytes, time of a prediction, learnt numbers."""
    simplest: bool = False
    """Whether it is the simplest within one standard error of the best."""
    dropped: int | None = None
    """Rows read when it was dropped at a rung."""


def candidates(leaderboard: Mapping[str, Any]) -> tuple[Candidate, ...]:
    """Return the rows of the leaderboard, in its order."""
    metric = leaderboard.get("metric", "")
    found = []
    for row in leaderboard.get("rows", []):
        scores = row.get("validation") or {}
        epochs, best_epoch = row.get("epochs"), row.get("best_epoch")
        words = str(epochs) if epochs else ""
        if best_epoch and best_epoch != epochs:
            words += f", best {best_epoch}"
        tested = row.get("test") or {}
        others = [(title(key), value) for key, value in scores.items() if key != metric]
        others += [(f"test {title(metric)}", tested[metric])] if metric in tested else []
        found.append(
            Candidate(
                str(row.get("candidate", "")),
                str(row.get("estimator") or "").rsplit(".", 1)[-1],
                ", ".join(f"{key}={value}" for key, value in (row.get("params") or {}).items()),
                numbers.score(_value(scores.get(metric))),
                tuple((name, numbers.score(_value(value))) for name, value in others),
                words,
                row.get("seconds"),
                bool(row.get("best")),
                bool(row.get("is_baseline")),
                str(row.get("failure") or ""),
                *_folded(row),
            )
        )
    return tuple(found)


def _folded(row: Mapping[str, Any]) -> tuple[str, str, tuple[tuple[str, str], ...], bool, int | None]:
    """Return what a leaderboard with folds says beside the scores, and what a candidate costs."""
    interval, apart = row.get("interval"), row.get("difference")
    said = "" if not interval else f"{numbers.score(interval[0])} to {numbers.score(interval[1])}"
    difference = ""
    if apart:
        low, high = numbers.score(apart["low"]), numbers.score(apart["high"])
        difference = f"{numbers.score(apart['value'])} ({low} to {high})"
    micro, learnt = row.get("prediction_microseconds"), row.get("complexity")
    costs = [
        ("size", "" if row.get("model_bytes") is None else numbers.size(row["model_bytes"])),
        ("a row", "" if micro is None else f"{micro:.3g} µs"),
        ("learnt numbers", "" if learnt is None else numbers.count(learnt)),
    ]
    shown = tuple((name, text) for name, text in costs if text)
    return said, difference, shown, bool(row.get("simplest")), row.get("dropped_after_rows")


def _value(score: Any) -> Any:
    return score.get("value") if isinstance(score, dict) else score


def histories(leaderboard: Mapping[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Return the metric after each epoch of each candidate that has any."""
    found = {}
    for row in leaderboard.get("rows", []):
        points = [
            (float(step["epoch"]), float(step["score"]))
            for step in row.get("history") or []
            if step.get("score") is not None
        ]
        if points and not row.get("is_baseline"):
            found[str(row.get("candidate", ""))] = points
    return found


@dataclass(frozen=True)
class Slice:
    """One group of test rows."""

    column: str
    value: str
    rows: int
    text: str
    interval: str
    drawing: Drawing | None
    apart: bool
    """Whether its whole interval is worse than the figure of all rows."""


def slices(metrics: Mapping[str, Any], primary: str) -> tuple[Slice, ...]:
    """Return the slices by the primary metric, the worst first; those without a value come last."""
    overall = metrics.get("metrics", {}).get(primary, {}).get("value")
    found: list[tuple[str, str, int, Mapping[str, Any]]] = [
        (column, value, int(entry.get("rows", 0)), entry.get("metrics", {}).get(primary, {}))
        for column, values in (metrics.get("slices") or {}).items()
        for value, entry in values.items()
    ]
    higher = HIGHER_IS_BETTER.get(primary, True)
    found.sort(key=lambda item: _worst_first(item[3], higher=higher))
    found = found[:MOST_SLICES]
    measured = [estimate for *_, estimate in found if estimate.get("value") is not None]
    ends = [
        estimate[key]
        for estimate in measured
        for key in ("low", "value", "high")
        if estimate.get(key) is not None
    ]
    if overall is not None:
        ends.append(overall)
    bounds = (min(ends), max(ends)) if ends else (0.0, 1.0)
    return tuple(_slice(*item, bounds, overall, higher=higher) for item in found)


def _worst_first(estimate: Mapping[str, Any], *, higher: bool) -> tuple[bool, float]:
    value = estimate.get("value")
    if value is None:
        return (True, 0.0)
    return (False, float(value) if higher else -float(value))


def _slice(
    column: str,
    value: str,
    rows: int,
    estimate: Mapping[str, Any],
    bounds: tuple[float, float],
    overall: float | None,
    *,
    higher: bool,
) -> Slice:
    figure = estimate.get("value")
    low, high = estimate.get("low"), estimate.get("high")
    drawing = None
    apart = False
    if figure is not None:
        low = figure if low is None else low
        high = figure if high is None else high
        reference = figure if overall is None else overall
        tip = f"{numbers.cut(column, 30)} {numbers.cut(value, 30)}: {estimate_text(estimate)}"
        drawing = whisker(figure, low, high, bounds, reference, tip)
        apart = overall is not None and (high < overall if higher else low > overall)
    return Slice(column, value, rows, numbers.score(figure), interval_text(estimate), drawing, apart)


def order_checks(checks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return failures first, then warnings, then passes, each in their own order."""
    rank = {"fail": 0, "warn": 1, "pass": 2}
    return sorted(checks, key=lambda check: rank.get(str(check.get("status")), 3))
