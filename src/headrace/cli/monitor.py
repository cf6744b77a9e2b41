"""Commands about models in use: monitor report, watch, ab, ingest, roll."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.output import ClusterFlag, JsonFlag, print_json, say
from headrace.cli.references import ModelArgument, RegistryFlag  # noqa: TC001 - typer reads annotations as it runs
from headrace.cli.watched import seconds

if TYPE_CHECKING:
    from headrace.monitoring.alerts import Alert
    from headrace.monitoring.grids import Grid
    from headrace.monitoring.measures import Measures
    from headrace.monitoring.options import MonitorFile
    from headrace.monitoring.store import MonitorStore
    from headrace.monitoring.watching import WatchState
    from headrace.monitoring.windows import Window
    from headrace.packaging.package import Package

StoreFlag = Annotated[
    str, typer.Option("--store", metavar="URL", help="The monitor store of `headrace serve --monitor`.")
]
RulesFlag = Annotated[
    str | None, typer.Option("--rules", metavar="FILE", help="Rules, sinks and retraining (YAML).")
]
LastFlag = Annotated[str, typer.Option("--last", help="How far back: 30m, 24h, 7d.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    monitor = typer.Typer(help="Models in use: drift, performance, alerts.", rich_markup_mode=None)
    for command in (report, watch, ab, ingest, roll):
        monitor.command()(command)
    app.add_typer(monitor, name="monitor")


def report(
    model: ModelArgument,
    store: StoreFlag,
    registry: RegistryFlag = "registry",
    last: LastFlag = "24h",
    by: Annotated[
        str | None, typer.Option("--by", help="Width of a point on the timelines: 5m, 1h, 1d.")
    ] = None,
    rules: RulesFlag = None,
    html: Annotated[str | None, typer.Option("--html", metavar="FILE", help="Write a page.")] = None,
    json: JsonFlag = False,
) -> None:
    """Say how inputs, scores, performance and traffic were, and which inputs moved.

    Example: headrace monitor report late --store monitor --last 24h --html monitor.html
    """
    from headrace.cli.watched import packages_of
    from headrace.monitoring.measures import measure
    from headrace.monitoring.windows import whole

    held, options = _opened(model, store), _options(rules)
    now = time.time()
    windows = held.read(now - seconds(last), now)
    known = packages_of(windows, model, registry)
    grids = {grid.digest: grid for grid, _ in known.values()}
    found = [measure(window, grids, false_alarms=options.false_alarms) for window in whole(windows)]
    document = {
        "model": model,
        "store": held.url,
        "from": now - seconds(last),
        "until": now,
        "false_alarms": options.false_alarms,
        "windows": [each.to_dict() for each in found],
        "damaged": held.damaged,
    }
    if html is not None:
        from headrace.data.storage import write_bytes

        write_bytes(html, _page(held, options, known, windows, found, _width(by, last), now).encode())
        document["html"] = html
    if json:
        print_json(document)
        return
    _tell(found)
    if held.damaged:
        say(f"{len(held.damaged)} damaged objects were left out, such as {held.damaged[0]}")
    if html is not None:
        say(f"page: {html}")


def watch(
    model: ModelArgument,
    store: StoreFlag,
    registry: RegistryFlag = "registry",
    rules: RulesFlag = None,
    every: Annotated[float, typer.Option("--every", help="Seconds between looks.")] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Look once; exit 1 when an alert fires.")] = False,
    cluster: ClusterFlag = None,
    json: JsonFlag = False,
) -> None:
    """Hold rules against the store, tell the sinks, and train again when it is due.

    Its state is in the store, so it can be stopped and started, or run by a timer with --once.

    Example: headrace monitor watch late --store monitor --rules rules.yaml
    """
    from headrace.errors import HeadraceError

    held, options = _opened(model, store), _options(rules)
    while True:
        now = time.time()
        try:
            state, changed, retrained = _look(held, options, (model, registry), cluster, now)
        except HeadraceError as error:
            if once:
                raise
            say(f"{error}; the watch goes on")  # a store may be away, or a run fail
        else:
            if once:
                _tell_alerts(state, changed, retrained, json=json)
                return
            if retrained is not None:
                say(f"trained again: {'; '.join(retrained['reasons'])}; challenger is {retrained['model']}")
        time.sleep(max(0.0, now + every - time.time()))


def ab(
    model: ModelArgument,
    store: StoreFlag,
    last: LastFlag = "30d",
    loss: Annotated[
        str | None,
        typer.Option("--loss", help="log_loss, brier, error, squared_error or absolute_error."),
    ] = None,
    champion: Annotated[
        str | None, typer.Option("--champion", metavar="VERSION", help="Such as late@3; default: the newest.")
    ] = None,
    challenger: Annotated[
        str | None,
        typer.Option("--challenger", metavar="VERSION", help="Such as late@4; default: the newest."),
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Probability of a false verdict.")] = 0.05,
    margin: Annotated[float, typer.Option("--margin", min=0.0, help="Differences that do not matter.")] = 0.0,
    planned: Annotated[
        int,
        typer.Option("--planned", min=1, help="Labels of an arm that are expected; set it before the test."),
    ] = 10_000,
    json: JsonFlag = False,
) -> None:
    """Compare the challenger with the champion on the labels so far; look as often as you like.

    Example: headrace monitor ab late --store monitor --loss log_loss
    """
    from headrace.cli.watched import arm_of
    from headrace.errors import InputError
    from headrace.monitoring.ab import compare_arms
    from headrace.monitoring.windows import whole

    if not 0 < alpha < 1:
        raise InputError(f"is {alpha:g}, not between 0 and 1", where="--alpha", mend="give such as 0.05")
    held = _opened(model, store)
    now = time.time()
    windows = whole(held.read(now - seconds(last), now))
    arms = [
        arm_of(windows, arm, version) for arm, version in (("champion", champion), ("challenger", challenger))
    ]
    found = compare_arms(
        arms[0].outcomes, arms[1].outcomes, loss, alpha=alpha, margin=margin, planned=planned
    )
    if found is None:
        raise InputError(
            "an arm has no labels of this loss yet", where=held.url, mend="send labels to /v1/feedback"
        )
    if json:
        print_json({"champion": arms[0].version, "challenger": arms[1].version, **found.to_dict()})
        return
    words = {
        "challenger": f"{arms[1].version} is better",
        "champion": f"{arms[0].version} is better",
        "equal": f"they differ by less than {margin:g}",
        "open": "not known yet",
    }
    say(
        f"{found.loss}: {arms[0].version} {found.means[0]:.5g} on {found.rows[0]:,} labels, "
        f"{arms[1].version} {found.means[1]:.5g} on {found.rows[1]:,}"
        f"{', on the same rows' if found.paired else ''}"
    )
    say(
        f"difference {found.difference:.4g}; at any look between {found.low_always:.4g} and "
        f"{found.high_always:.4g} ({1 - alpha:.0%}); p {found.chance:.2g}"
    )
    needed = f"; about {found.needed:,} labels of each would tell" if found.needed else ""
    say(f"verdict: {words[found.verdict]}{needed}")


def ingest(
    model: ModelArgument,
    profile: Annotated[
        str,
        typer.Argument(metavar="PROFILE", help="OUT/_profile.json of batch scoring, or of headrace profile."),
    ],
    store: StoreFlag,
    registry: RegistryFlag = "registry",
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="When it was, ISO format; default: now.")
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option("--score", metavar="CLASS=COLUMN", help="Repeatable; default: as `score` names them."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Take rows that were scored in batch into the store, from their profile alone.

    Example: headrace monitor ingest late@3 scored/_profile.json --store monitor
    """
    from headrace.cli.checks import read_profile
    from headrace.cli.watched import package_of, score_columns
    from headrace.monitoring.measures import measure
    from headrace.monitoring.recording import grid_of, window_of_profile

    held = _opened(model, store)
    package, version = package_of(model, registry)
    grid = grid_of(package)
    columns = dict(_pair(text) for text in score or ()) or score_columns(grid)
    window, errors = window_of_profile(
        read_profile(profile), grid, version=version, at=_moment(at), score_columns=columns
    )
    held.write([window])
    found = measure(window, {grid.digest: grid}, errors=errors)
    if json:
        print_json(found.to_dict())
    else:
        _tell([found])


def roll(
    model: ModelArgument,
    store: StoreFlag,
    minutes_for: Annotated[str, typer.Option("--minutes-for", help="How long minutes are kept.")] = "2d",
    hours_for: Annotated[str, typer.Option("--hours-for", help="How long hours are kept.")] = "90d",
    days_for: Annotated[
        str | None, typer.Option("--days-for", help="What is older is deleted; default: nothing.")
    ] = None,
) -> None:
    """Merge old minutes to hours and old hours to days; delete what is older than asked.

    Example: headrace monitor roll late --store monitor --days-for 730d
    """
    held = _opened(model, store)
    replaced = held.roll(minutes_for=seconds(minutes_for), hours_for=seconds(hours_for))
    removed = held.remove_before(time.time() - seconds(days_for)) if days_for is not None else 0
    say(f"{held.url}: {replaced:,} objects merged, {removed:,} days deleted")


def _opened(model: str, store: str) -> MonitorStore:
    from headrace.cli.watched import name_of
    from headrace.monitoring.store import MonitorStore

    return MonitorStore(store, name_of(model)[0])


def _options(rules: str | None) -> MonitorFile:
    from headrace.monitoring.options import MonitorFile
    from headrace.optionfile import read_options

    return MonitorFile() if rules is None else read_options(rules, MonitorFile)


def _width(by: str | None, last: str) -> int:
    """Seconds of a point: what was asked, or what gives about a hundred points."""
    if by is not None:
        return max(60, round(seconds(by) / 60) * 60)
    steps = (60, 300, 900, 3600, 6 * 3600, 86_400)
    return next((step for step in steps if seconds(last) / step <= 120), steps[-1])


def _moment(at: str | None) -> float:
    from datetime import UTC, datetime

    from headrace.errors import InputError

    if at is None:
        return time.time()
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise InputError(f"{at!r} is no time", where="--at", mend="write 2026-11-24T18:00:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _pair(text: str) -> tuple[str, str]:
    from headrace.errors import InputError

    name, sign, column = text.partition("=")
    if not sign:
        raise InputError(
            f"{text!r} is not CLASS=COLUMN", where="--score", mend="write such as 1=probability_1"
        )
    return name, column


def _tell(found: list[Measures]) -> None:
    """Print each version and arm, and its inputs, those that moved first."""
    from dataclasses import replace

    from headrace.cli.output import console
    from headrace.cli.watched import drift_table

    if not found:
        say("no rows; is the store the one of `headrace serve --monitor`?")
    for measures in found:
        window, traffic = measures.window, measures.window.traffic
        about = " ".join(part for part in (window.version, window.arm) if part)
        say(
            f"{about}: {window.rows:,} rows, {traffic.requests:,} requests, "
            f"{sum(traffic.failures.values()):,} failures, {window.outcomes.rows:,} labels"
        )
        for name, estimate in measures.metrics.items():
            if estimate.value is not None and estimate.low is not None and estimate.high is not None:
                say(f"  {name} {estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g})")
        if measures.inputs:
            scores = [replace(drift, column=f"score: {name}") for name, drift in measures.scores.items()]
            console().print(drift_table([*measures.inputs.values(), *scores]))


def _page(
    held: MonitorStore,
    options: MonitorFile,
    known: dict[str, tuple[Grid, Package]],
    windows: list[Window],
    found: list[Measures],
    width: int,
    now: float,
) -> str:
    from headrace.monitoring.measures import measure
    from headrace.monitoring.watching import read_state
    from headrace.monitoring.windows import merge_by
    from headrace.profiling.profile import Profile
    from headrace.report.monitor import render_monitor

    grids = {grid.digest: grid for grid, _ in known.values()}
    line = [measure(one, grids, false_alarms=options.false_alarms) for one in merge_by(windows, width)]
    profiles = {version: Profile.from_dict(package.profile) for version, (_, package) in known.items()}
    return render_monitor(
        found,
        line,
        profiles=profiles,
        alerts=read_state(held).alerts,
        width=width,
        title=f"{held.name} in use",
        now=now,
    )


def _look(
    held: MonitorStore, options: MonitorFile, place: tuple[str, str], cluster: str | None, now: float
) -> tuple[WatchState, list[Alert], dict[str, Any] | None]:
    """Hold the rules against the store once, and train again when there is a reason."""
    from headrace.cli.watched import package_of, packages_of
    from headrace.cluster.config import load_cluster
    from headrace.monitoring.watching import look
    from headrace.retraining import retrain_when_due

    longest = max((seconds(rule.window) for rule in options.rules), default=3600.0)
    known = packages_of(held.read(now - longest, now), *place)
    grids = {grid.digest: grid for grid, _ in known.values()}
    state, changed = look(held, grids, options, now=now)
    if options.retrain is None:
        return state, changed, None
    package, version = package_of(*place)
    workers = load_cluster(cluster) if cluster is not None else None
    return (
        state,
        changed,
        retrain_when_due(held, options, state, grids, package, version, now=now, cluster=workers),
    )


def _tell_alerts(
    state: WatchState, changed: list[Alert], retrained: dict[str, Any] | None, *, json: bool
) -> None:
    """Print what fires; exit 1 when something does."""
    firing = [alert for alert in state.alerts if alert.phase == "firing"]
    if json:
        print_json(
            {
                "firing": [alert.to_dict() for alert in firing],
                "changed": [alert.to_dict() for alert in changed],
                "retrained": retrained,
            }
        )
    else:
        for alert in firing:
            say(f"{alert.severity}: {alert.text()}")
        say(f"{len(firing)} alerts fire, {len(changed)} changed")
    if firing:
        raise typer.Exit(1)
