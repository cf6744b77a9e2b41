"""The page and the drawing of a benchmark: ratios first, then the absolute figures that they come from."""

from __future__ import annotations

MIB = 1 << 20
SURFACE, INK, QUIET, GRID = "#ffffff", "#1d2733", "#5b6770", "#d9dee3"
OURS, THEIRS = "#1f6feb", "#9aa5b1"
SERVING = "## Serving"
TITLES = {
    "profile_arrow": "Arrow, decoding only",
    "profile_duckdb": "DuckDB SUMMARIZE",
    "profile_headrace": "headrace profile",
    "page_headrace": "headrace profile --html",
    "page_ydata": "ydata-profiling, first 200,000 rows",
    "fit_headrace": "headrace run",
    "fit_processes": "headrace run, worker processes",
    "fit_sklearn": "scikit-learn partial_fit by hand",
    "folds_headrace": "headrace run, 8 candidates x 5 folds",
    "folds_sklearn": "40 fits by hand, one after another",
    "fit_dask_ml": "dask-ml",
    "fit_spark": "Spark MLlib, 10 iterations",
    "fit_ray": "Ray Data and partial_fit",
}


def ratios(document):
    """Return rows of (what, ratio or None, goal, meets or None)."""
    done = [result for result in document["results"] if result["status"] == "ok"]
    largest = _largest(document)
    ours = [result for result in done if result["name"] == "fit_headrace"]
    apart = [result for result in done if result["name"] == "fit_processes"]
    several = [result for result in ours if result["workers"] == document["workers"]]

    def faster(name, other):
        if name in largest and other in largest:
            return largest[name]["rows_per_second"] / largest[other]["rows_per_second"]
        return None

    decode = faster("profile_arrow", "profile_headrace")
    rows = [
        ("profile: times faster than DuckDB SUMMARIZE", faster("profile_headrace", "profile_duckdb"), 6.0),
        ("profile: times the time of bare Arrow decoding", decode, -6.0),
        ("profile to fitted model: times faster than scikit-learn by hand", faster("fit_headrace", "fit_sklearn"), 3.0),
        ("profile to fitted model: times faster than dask-ml", faster("fit_headrace", "fit_dask_ml"), 25.0),
        ("profile to fitted model: times faster than Spark MLlib", faster("fit_headrace", "fit_spark"), None),
        ("profile to fitted model: times faster than Ray Data", faster("fit_headrace", "fit_ray"), None),
        ("8 candidates x 5 folds: times faster than 40 fits by hand", faster("folds_headrace", "folds_sklearn"), 5.0),
        (f"{document['workers']} workers, threads of one process: times faster than 1", _speedup(ours, document), 1.7),
        (f"{document['workers']} workers, each a process: times faster than 1", _speedup(apart, document), 1.7),
        ("peak memory of a run: 10 times the rows against one", _memory(several), -1.15),
    ]  # fmt: skip
    return [(what, ratio, _goal(bound), _meets(ratio, bound)) for what, ratio, bound in rows]


def _largest(document):
    """By program, what it did on the most rows with all workers."""
    largest = {}
    for result in document["results"]:
        if result["status"] == "ok" and result["workers"] == document["workers"]:
            known = largest.get(result["name"])
            if known is None or result["asked_rows"] > known["asked_rows"]:
                largest[result["name"]] = result
    return largest


def _speedup(ours, document):
    several = [result for result in ours if result["workers"] == document["workers"]]
    alone = {result["asked_rows"]: result for result in ours if result["workers"] == 1}
    pairs = [(alone[result["asked_rows"]], result) for result in several if result["asked_rows"] in alone]
    return max((one["seconds"] / result["seconds"] for one, result in pairs), default=None)


def _goal(bound):
    if bound is None:
        return ""
    return f">= {bound:g}" if bound > 0 else f"<= {-bound:g}"


def page(document):
    """Return the page in Markdown."""
    machine = document["machine"]
    lines = [
        "# Benchmarks",
        "",
        f"{document['rows']:,} rows of the sample `clicks` (12 numeric columns, 4 of them with 5 % missing values, 4 text",
        "columns, a time, a 0/1 target). Everything ran in one command, `make bench`, one program at a time on",
        "the same machine; the programs are in `benchmarks/alternatives/`. Ratios carry over to other machines, seconds do not.",
        "",
        "![Rows a second of each program](plot.svg)",
        "",
        "## Ratios",
        "",
        "| what | measured | goal | |",
        "|---|--:|--:|---|",
    ]
    for what, ratio, goal, meets in ratios(document):
        said = "not measured" if ratio is None else f"{ratio:.2f}"
        mark = {None: "", True: "met", False: "missed"}[meets]
        lines.append(f"| {what} | {said} | {goal} | {mark} |")
    lines += [
        "",
        "## Figures",
        "",
        "Seconds are those of the work itself, without imports and without starting workers: the median of up to three repeats,",
        "for which the programs take turns, and where there are several the least and the most. Memory is the highest sum of resident bytes over all processes of the program, shared pages counted in each.",
        "",
        "| program | workers | rows | seconds | rows a second | headrace is faster | peak memory, MiB | whole process, seconds |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    largest = _largest(document)
    for result in document["results"]:
        title = f"{TITLES[result['name']]} | {result['workers']}"
        if result["status"] == "ok":
            figures = (
                f"{result['rows']:,}",
                _seconds(result),
                f"{result['rows_per_second']:,}",
                _times(result, largest),
                f"{result['peak'] / MIB:,.0f}",
                f"{result['wall']:.2f}",
            )
        else:
            reason = f"{result['status']}: {result['error']}" if result["error"] else result["status"]
            figures = (f"{result['asked_rows']:,}", reason.replace("|", "/"), "", "", "", "")
        lines.append(f"| {title} | {' | '.join(figures)} |")
    versions = {}
    pages = []
    for result in document["results"]:
        said = result["document"] or {}
        if "page_bytes" in said:  # its versions stand beside it: an environment of its own may hold others
            pages.append((result, said))
        else:
            versions.update(said.get("versions", {}))
    if pages:
        lines += ["", "Sizes of the pages:", ""]
    lines += [
        f"- {TITLES[result['name']]}: {said['page_bytes'] / MIB:.2f} MiB of {result['rows']:,} rows ({_listed(said['versions'])})"
        for result, said in pages
    ]
    lines += [
        "",
        "headrace run: seconds of the stages profile, prepare and train (one epoch of logistic SGD, scored on a validation",
        "share); its test pass, package and report are in the last column. dask-ml, Spark and Ray get fewer rows where they",
        "would need more memory than there is, and are compared by rows a second.",
        "",
        f"Machine: {machine['cores']} cores ({machine['processor']}), {machine['memory_bytes'] / 2**30:.0f} GiB, {machine['system']}.",
        f"Python {machine['python']}, {_listed(versions)}.",
        "",
    ]
    return "\n".join(lines)


def with_serving(text, served):
    """Return the page with the section on serving, in place of the one that it had."""
    inside = served["inside_microseconds"]
    names = {
        "headrace": "headrace serve",
        "fastapi": "FastAPI and scikit-learn",
        "mlflow": "mlflow models serve",
    }
    lines = [
        text.partition(SERVING)[0].rstrip(),
        "",
        SERVING,
        "",
        f"One row of {served['inputs']} columns a request, `python benchmarks/serving.py`: the same model, each server in one process, the load",
        f"from plain sockets, {served['seconds']:g} s each. Processor time is that of the whole server process, a request. Other programs kept",
        f"the {served['machine']['cores']} cores busy: a load of {served['load_average']} on average; they slow each server down, and lengthen p99 most.",
        "",
        "| server | clients | p50, ms | p99, ms | requests a second | processor time, us | headrace: times as many requests |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, title in names.items():
        for clients, figures in served.get(name, {}).items():
            times = served.get(f"requests/s, headrace over {name}", {}).get(clients, "")
            shown = (
                figures["p50"],
                figures["p99"],
                figures["per_second"],
                figures["cpu_microseconds"],
                times,
            )
            lines.append(f"| {title} | {clients} | {' | '.join(map(str, shown))} |")
    whole, bare, alone = inside["request"], inside["onnxruntime"], served["headrace"]["1"]
    itself = round(alone["server_p50"] * 1000)
    steps = {
        **inside["steps"],
        "= a request to the application (ASGI), in this process": whole,
        "a request as the server logs it, asked by one client over a socket": itself,
        "what the client waits besides: uvicorn, uvloop, sockets, the client": round(alone["p50"] * 1000)
        - itself,
    }
    lines += [
        "",
        f"In one process, taking turns: the bare call of ONNX Runtime takes {bare} us at the median, a whole request to the",
        f"application {whole} us, {whole - bare} us more. The server logs {itself} us with one client, {itself - bare} us more. The goal is less than",
        "1,000 us more. Where the time of a request goes:",
        "",
        "| step | us at the median |",
        "|---|--:|",
        *(f"| {step} | {taken} |" for step, taken in steps.items()),
        "",
    ]
    return "\n".join(lines)


def _listed(versions):
    return ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))


def _seconds(result):
    each = result["each"]
    apart = f" ({min(each):.2f} to {max(each):.2f})" if len(each) > 1 else ""
    return f"{result['seconds']:.2f}{apart}"


def _times(result, largest):
    """How many times as fast headrace does the same work; nothing for headrace itself."""
    ours = largest.get(f"{result['name'].split('_')[0]}_headrace")
    if ours is None or _is_own(result["name"]):
        return ""
    return f"{ours['rows_per_second'] / result['rows_per_second']:.2g}x"


def _is_own(name):
    return TITLES[name].startswith("headrace")


def draw(document, path):
    """Write the rows a second of every program as an SVG, with what headrace makes of each and the goal."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {"svg.hashsalt": "headrace", "font.size": 10, "text.color": INK, "font.family": "DejaVu Sans"}
    )
    largest = _largest(document)
    goals = {"profile_duckdb": "6x", "profile_arrow": "0.17x", "fit_sklearn": "3x", "fit_dask_ml": "25x"}
    groups = [
        [largest[name] for name in TITLES if name.startswith(kind) and name in largest]
        for kind in ("profile", "fit")
    ]
    groups = [sorted(group, key=lambda result: result["rows_per_second"]) for group in groups if group]
    figure, axes = plt.subplots(
        len(groups),
        1,
        figsize=(9, 1.2 * len(groups) + 0.42 * sum(map(len, groups))),
        squeeze=False,
        height_ratios=[len(group) + 0.8 for group in groups],
        layout="constrained",
    )
    for axis, group in zip(axes[:, 0], groups, strict=True):
        rates = [result["rows_per_second"] / 1e6 for result in group]
        names = [result["name"] for result in group]
        colours = [OURS if _is_own(name) else THEIRS for name in names]
        bars = axis.barh([TITLES[name] for name in names], rates, color=colours, height=0.6)
        axis.bar_label(bars, [f"{rate:.2f}" for rate in rates], padding=4, color=INK)
        axis.set_title(
            "One profile" if names[0].startswith("profile") else "Profile to fitted model",
            loc="left",
            fontweight="bold",
            color=INK,
        )
        axis.set_xlim(0, max(rates) * 1.12)
        beside = axis.get_yaxis_transform()
        axis.text(
            1.08, 1.03, "headrace\nis faster", transform=axis.transAxes, color=QUIET, ha="right", va="bottom"
        )
        axis.text(1.17, 1.03, "goal", transform=axis.transAxes, color=QUIET, ha="right", va="bottom")
        for place, result in enumerate(group):
            axis.text(1.08, place, _times(result, largest), transform=beside, ha="right", va="center")
            goal = goals.get(result["name"], "")
            axis.text(1.17, place, goal, transform=beside, ha="right", va="center", color=QUIET)
        axis.grid(axis="x", color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.tick_params(length=0, colors=INK)
        axis.tick_params(axis="x", colors=QUIET)
        axis.spines[:].set_visible(False)
    axes[-1, 0].set_xlabel("million rows a second", color=QUIET)
    figure.set_facecolor(SURFACE)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _memory(results):
    peaks = [_worker_peak(result) for result in sorted(results, key=lambda result: result["asked_rows"])]
    return peaks[-1] / peaks[0] if len(peaks) > 1 and all(peaks) else None


def _worker_peak(result):
    return max((result["document"] or {})["peak_rss_bytes"]["workers"].values(), default=0)


def _meets(ratio, bound):
    if ratio is None or bound is None:
        return None
    return ratio >= bound if bound > 0 else ratio <= -bound
