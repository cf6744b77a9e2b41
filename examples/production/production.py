# ruff: noqa: INP001, S603, T201  a script of commands that it names itself, and prints
"""A model in production, from its first training to a rollback: every step is a command, and its outcome is asserted.

    python examples/production/production.py [flights|clicks] [--minutes 10] [--directory runs/production]

Read it from `main` on. Needs: pip install 'headrace[serve,onnx,flights]' locust
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from feeds import FEEDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from feeds import Feed

HERE = Path(__file__).resolve().parent
CLUSTER = str(HERE.parents[1] / "cluster" / "laptop.yaml")
CHANGED = Path("changed")
"""Once it is there, rows are asked about as they come after the change."""
CLIENTS = 8
LABELS_AFTER = 5
"""Seconds from an answer to its label; in life it is a day, or a month."""
PATIENCE = 600
"""Seconds that anything may take: the store has whole minutes, so that an alert comes a minute after its cause."""


def main() -> None:  # noqa: PLR0915 - a story is read from its beginning to its end
    """Take a model through a year of its life in some minutes."""
    options = parse_options()
    feed, minutes = FEEDS[options.sample], options.minutes
    enter(options.directory, options.sample)

    step("The data: a year of them until yesterday, and rows that will be asked about")
    headrace("sample", options.sample, "sample", *feed.options)
    parts = lay_out(feed, options.rows)
    done(f"{parts['learnt'].num_rows:,} rows to learn from")

    step("Train")
    headrace("run", "workflow.yaml", "--cluster", CLUSTER, "--run", "runs/first")
    champion = f"{feed.name}@1"
    assert aliases(feed) == {"champion": 1}, aliases(feed)
    done(f"{champion} met its success criteria; as the first one it is champion")

    port = free_port()
    address = f"--port {port} --workers 2 --monitor monitor --reload 1 --log errors".split()
    with ExitStack() as running:
        step("Serve, watch, and ask; half-way the feed changes")
        running.enter_context(headrace_beside("serve", f"{feed.name}@champion", *address))
        wait("the server is ready", lambda: served(port, feed) == champion)
        watch = ("monitor", "watch", feed.name, "--store", "monitor", "--rules", "rules.yaml")
        running.enter_context(headrace_beside(*watch, "--every", "3", "--cluster", CLUSTER))
        running.enter_context(load_beside(port, options.sample, "asked"))
        wait("clients are answered", lambda: answered(port) > 100)
        time.sleep(30 * minutes)
        assert alerts() == []
        write(parts["changed"], "data/changed.parquet", feed, newest=now(), days=0.1)
        CHANGED.touch()
        done(f"{answered(port):,} requests and no alert; now {feed.change}, and so do new rows of the data")

        step("An alert names what has changed")
        over = time.monotonic() + 30 * minutes
        wait("an alert fires", lambda: moved_columns() >= set(feed.columns))
        assert moved_columns() == set(feed.columns), alerts()
        done(f"alert: {', '.join(sorted(moved_columns()))} moved; no other column did")

        step("Labels show that the model is worse: it is trained again, on what came since the change")
        wait("there is a challenger", lambda: aliases(feed).get("challenger") == 2)
        challenger = f"{feed.name}@2"
        assert served(port, feed) == champion
        time.sleep(max(0.0, over - time.monotonic()))
        done(
            f"{challenger} is challenger; {champion} is still champion and has answered {answered(port):,} requests"
        )

    with ExitStack() as running:
        step("A/B: the challenger is asked about every request too, and the labels decide")
        trial = ("--challenger", f"{feed.name}@challenger", "--shadow")
        running.enter_context(headrace_beside("serve", f"{feed.name}@champion", *address, *trial))
        wait("the server is ready", lambda: served(port, feed) == champion)
        running.enter_context(load_beside(port, options.sample, "asked again"))
        wait("there is a verdict", lambda: verdict(feed) == "challenger")
        done(f"verdict: {challenger} is better")

        step("Promote: guarded by the verdict, by drift, and by a measured latency")
        print(headrace("models", "promote", f"{feed.name}@challenger", "--store", "monitor"))
        assert aliases(feed)["champion"] == 2
        wait("the server answers with the new champion", lambda: served(port, feed) == challenger)
        done(f"{challenger} answers; the server was not started anew")

        step("Roll back")
        headrace("models", "rollback", feed.name, "--why", "to show that it can be done")
        wait("the server answers with the old champion", lambda: served(port, feed) == champion)
        done(f"{champion} answers again; no request has failed from beginning to end")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sample", nargs="?", choices=sorted(FEEDS), default="flights")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of load, the second half after the change"
    )
    parser.add_argument("--rows", type=int, default=300_000, help="of the sample that are used")
    parser.add_argument("--directory", type=Path, default=Path("runs/production"))
    return parser.parse_args()


def enter(directory: Path, sample: str) -> None:
    """Begin in a fresh directory that holds the workflow and the rules."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(HERE / sample, directory)
    os.chdir(directory)


def lay_out(feed: Feed, rows: int) -> dict[str, pa.Table]:
    """Deal rows of the sample at random: so that nothing differs between the parts but what is changed on purpose."""
    table = pa.dataset.dataset("sample", partitioning="hive").to_table()
    table = table.take(np.random.default_rng(0).permutation(table.num_rows)[:rows])
    cuts = [int(share * table.num_rows) for share in (0, 0.5, 0.8, 0.9, 1)]
    names = ("learnt", "changed", "asked", "asked again")
    parts = {
        name: table.slice(start, end - start) for name, start, end in zip(names, cuts, cuts[1:], strict=False)
    }
    parts["changed"] = pa.Table.from_pylist(
        [feed.changed(row) for row in parts["changed"].to_pylist()], table.schema
    )
    write(parts["learnt"], "data/learnt.parquet", feed, newest=now() - timedelta(days=1), days=365)
    for name in names[2:]:
        kept = parts[name].drop_columns([feed.time])
        Path(f"{name}.jsonl").write_text("\n".join(map(json.dumps, kept.to_pylist())))
    return parts


def write(part: pa.Table, path: str, feed: Feed, *, newest: datetime, days: float) -> None:
    """Write rows as if they had come in the last days before a moment."""
    oldest = newest - timedelta(days=days)
    moments = [oldest + (newest - oldest) * row / part.num_rows for row in range(part.num_rows)]
    times = pa.array([moment.replace(tzinfo=None) for moment in moments], pa.timestamp("ms"))
    Path(path).parent.mkdir(exist_ok=True)
    dated = part.set_column(part.schema.get_field_index(feed.time), feed.time, times)
    pq.write_table(dated, path, row_group_size=20_000)


def headrace(*arguments: str) -> str:
    """Run a command to its end; it must succeed."""
    print("  $ headrace", *arguments, flush=True)
    command = [sys.executable, "-m", "headrace", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@contextmanager
def beside(command: list[str], log: str) -> Iterator[subprocess.Popen[bytes]]:
    """Let a command run meanwhile, then ask it to end; what it says on stderr goes to a file."""
    with Path(log).open("ab") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def headrace_beside(*arguments: str) -> Iterator[None]:
    """Let a headrace command run meanwhile."""
    print("  $ headrace", *arguments, "&", flush=True)
    with beside([sys.executable, "-m", "headrace", *arguments], f"{arguments[0]}.log"):
        yield


@contextmanager
def load_beside(port: int, sample: str, rows: str) -> Iterator[None]:
    """Let Locust ask meanwhile; no request may fail."""
    arguments = [
        *("--headless", "--only-summary", "--users", str(CLIENTS), "--spawn-rate", str(CLIENTS)),
        *("--host", f"http://127.0.0.1:{port}", "--feed", sample, "--rows", f"{rows}.jsonl"),
        *("--changed-when", str(CHANGED), "--labels-after", str(LABELS_AFTER)),
    ]
    print("  $ locust -f load.py", *arguments, "&", flush=True)
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "load.py"), *arguments]
    with beside(command, "load.log") as process:
        yield
    assert process.returncode == 0, "requests failed; load.log tells which"


def aliases(feed: Feed) -> dict[str, int]:
    """Say which version each alias of the model stands for."""
    rows = json.loads(quiet("models", "list", feed.name, "--json"))["models"]
    return {alias: row["version"] for row in rows for alias in row["alias"].split(", ") if alias}


def verdict(feed: Feed) -> str:
    """Say who is better; it may be asked as often as one likes."""
    said = quiet("monitor", "ab", feed.name, "--store", "monitor", "--json")
    return json.loads(said)["verdict"] if said else "open"


def quiet(*arguments: str) -> str:
    """Run a command that only looks; nothing when it cannot say yet."""
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def served(port: int, feed: Feed) -> str:
    """Say which version answers now; nothing when none does."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return next(name for name in json.load(answer)["models"] if name.startswith(f"{feed.name}@"))
    except OSError:
        return ""


def alerts() -> list[dict[str, Any]]:
    """Read what the sink was told: here lines of JSON in the log of the watch."""
    lines = Path("monitor.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def moved_columns() -> set[str]:
    """Name the inputs that alerts are about."""
    return {alert["column"] for alert in alerts() if alert["rule"] == "inputs moved"}


def answered(port: int) -> int:
    """Count the requests that both processes have answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    wanted = 'headrace_requests_total{path="/v1/predict",status="200"} '
    return sum(int(float(line.removeprefix(wanted))) for line in lines if line.startswith(wanted))


def wait(what: str, holds: Callable[[], bool]) -> None:
    """Look again until it holds."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, f"still not so after {PATIENCE} seconds: {what}"
        time.sleep(2)


def now() -> datetime:
    """Say what time it is."""
    return datetime.now(UTC)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def step(text: str) -> None:
    """Say what comes next."""
    print(f"\n{text}", flush=True)


def done(text: str) -> None:
    """Say what was shown."""
    print(f"  ok: {text}", flush=True)


if __name__ == "__main__":
    main()
