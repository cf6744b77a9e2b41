"""Commands about clusters: cluster check, up, status, down, certs, schema."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.output import JsonFlag, print_json, say, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.cluster.workers import Workers

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A cluster file (YAML).")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(
        help="Where work runs: check, start, ask and end it.",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    commands: dict[str, Callable[..., None]] = {
        "check": check,
        "up": up,
        "status": status,
        "down": down,
        "certs": certs,
        "schema": schema,
    }
    for name, command in commands.items():
        group.command(name)(command)
    group.command("hold", hidden=True)(hold)
    app.add_typer(group, name="cluster")


def check(file: FileArgument, json: JsonFlag = False) -> None:
    """Start the workers of a file, compare versions, run a task on each, and end them.

    Exit 0 when a run could begin there.

    Example: headrace cluster check cluster/laptop.yaml
    """
    from headrace.cluster.config import load_cluster

    cluster = load_cluster(file)
    began = time.perf_counter()
    with cluster.connect() as client:
        _show(_document(cluster, client, seconds=time.perf_counter() - began), as_json=json)


def up(
    file: FileArgument,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FILE", help="Where the file of the running cluster goes; default: beside."
        ),
    ] = None,
) -> None:
    """Start a cluster that stays, and write a cluster file that joins it.

    Runs are given that file by --cluster; `headrace cluster down` ends it.

    Example: headrace cluster up cluster/ssh.yaml
    """
    from headrace.cluster.standing import begin, joining_file

    target = to or joining_file(file)
    address = begin(file, target)
    say(f"up at {address}; use it: headrace run WORKFLOW --cluster {target}")
    say(f"end it: headrace cluster down {file}" if to is None else f"end it: headrace cluster down {target}")


def status(file: FileArgument, json: JsonFlag = False) -> None:
    """Ask a cluster that runs for its workers.

    FILE is that of `headrace cluster up`, the one that it wrote, or any of kind: address.

    Example: headrace cluster status cluster/ssh.yaml
    """
    from headrace.cluster.standing import running

    cluster = running(file)
    with cluster.connect() as client:
        _show(_document(cluster, client), as_json=json)


def down(file: FileArgument) -> None:
    """End a cluster that `headrace cluster up` has started.

    Example: headrace cluster down cluster/ssh.yaml
    """
    from headrace.cluster.standing import end

    end(file)
    say("down")


def certs(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A new directory.")],
    days: Annotated[float, typer.Option("--days", metavar="N", help="How long they are valid.")] = 30,
) -> None:
    """Make certificates for a cluster that others start: ca.pem, cert.pem, key.pem.

    Whoever has the key can join the cluster; it is readable by you alone.

    Example: headrace cluster certs ~/certificates
    """
    from headrace.cluster.certificates import write_certificates

    paths = write_certificates(directory, days=days)
    for path in paths:
        say(path)
    authority, certificate, key = paths
    say(f"dask scheduler --protocol tls --tls-ca-file {authority} --tls-cert {certificate} --tls-key {key}")


def schema() -> None:
    """Print the JSON Schema of a cluster file.

    For editors that complete and check YAML.

    Example: headrace cluster schema > cluster.schema.json
    """
    from headrace.cluster.config import cluster_schema

    print_json(cluster_schema())


def hold(file: str, target: str) -> None:
    """Keep a cluster until it is ended; started by `up`."""
    from headrace.cluster.standing import hold as hold_it

    hold_it(file, target)


def _document(cluster: Workers, client: Any, seconds: float | None = None) -> dict[str, Any]:
    info = client.scheduler_info(n_workers=-1)
    return {
        "kind": getattr(cluster, "kind", ""),
        "scheduler": info["address"],
        "encrypted": str(info["address"]).startswith("tls"),
        "dashboard": None if cluster.dashboard == "off" else cluster.dashboard,
        "workers": [
            {
                "name": str(worker["name"]),
                "address": address,
                "threads": worker["nthreads"],
                "memory": worker["memory_limit"],
                "resident": worker["metrics"].get("memory", 0),
            }
            for address, worker in sorted(info["workers"].items())
        ],
        **({} if seconds is None else {"seconds": round(seconds, 3)}),
    }


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    guarded = "encrypted" if document["encrypted"] else "not encrypted"
    say(f"scheduler  {document['scheduler']} ({document['kind']}, {guarded})")
    for worker in document["workers"]:
        say(
            f"worker     {worker['address']}: {worker['threads']} threads, {size(worker['resident'])} of "
            f"{size(worker['memory'])}"
        )
    if "seconds" in document:
        say(f"ready      {len(document['workers'])} workers in {document['seconds']:.1f} s, versions agree")
