"""Commands that remove: erase, a person out of a dataset; retain, what a policy no longer keeps."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.cli.output import ClusterFlag, JsonFlag, print_json, say


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(erase)
    app.command()(retain)


def erase(
    column: Annotated[str, typer.Option("--column", metavar="COL", help="The column that says who it is.")],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="File, directory or URL of Parquet; left out: that of --workflow."
        ),
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", metavar="ID", help="Who is erased; may be repeated.")
    ] = None,
    keys: Annotated[
        str | None, typer.Option("--keys", metavar="FILE", help="A file of keys, one a line.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is changed.")] = False,
    workflow: Annotated[
        str | None,
        typer.Option("--workflow", metavar="FILE", help="Train anew from what is left, with --yes."),
    ] = None,
    registry: Annotated[
        str | None, typer.Option("--registry", metavar="URL", help="Name its versions that saw the data.")
    ] = None,
    cluster: ClusterFlag = None,
    json: JsonFlag = False,
) -> None:
    """Take a person's rows out of a dataset.

    Without --yes it only says what would be done. Files that hold them are written anew, each aside and then moved
    into place; ended before its time, the same command goes on. With --workflow the model is trained on what is
    left, from nothing that the rows were part of, and published as a new version.

    Example: headrace erase data/visits --column patient --key 4711 --registry registry
    """
    from headrace.data.dataset import Dataset
    from headrace.erasing import erase as take_out
    from headrace.erasing import find, read_keys, seen_by, shown
    from headrace.errors import InputError
    from headrace.runs import Workflow

    flow = None if workflow is None else Workflow.load(workflow)
    url = data or (flow.options.data.url if flow else None)
    if url is None:
        raise InputError("no data are given", where="erase", mend="give DATA or --workflow FILE")
    if flow is not None:
        registry = registry or flow.options.publish.registry
    who = [*(key or []), *(read_keys(keys) if keys else [])]
    dataset = Dataset(url)
    if not yes:
        found = find(dataset, column, who)
        seen = seen_by(registry, url, found.fingerprint) if registry else []
        document = shown(found, seen)
        if json:
            print_json({"erased": False, **document})
            return
        say(
            f"{found.rows:,} of {found.of:,} rows in {len(found.files)} of {len(dataset.files)} files would go"
        )
        say(f"looked at {found.looked_at:,} of {found.row_groups:,} row groups")
        _say_models(document["models"])
        say("nothing was changed; --yes does it" + (", and trains anew" if flow else ""))
        return
    document = {
        "erased": True,
        **take_out(dataset, column, who, registry, flow.options.data.remembered if flow else None),
    }
    if flow is not None and document["rows"]:
        document["run"] = _retrain(flow, cluster)
    if json:
        print_json(document)
        return
    say(f"{document['rows']:,} rows are gone from {len(document['files'])} files")
    if "://" in url and document["files"]:
        say("earlier versions, replicas and backups that the store keeps of these files still hold them")
    _say_models(document["models"])
    if "run" in document:
        say(
            f"trained anew: {document['run']['model']}; to use it: headrace models promote {document['run']['model']}"
        )


def _retrain(flow: Any, cluster: str | None) -> dict[str, Any]:
    from headrace.cli.progress import watching
    from headrace.cluster.config import load_cluster

    with watching() as subscriber:
        result = flow.run(None if cluster is None else load_cluster(cluster), subscribers=[subscriber])
    return {
        "directory": result.directory,
        **{name: result.run[name] for name in ("model", "model_sha256", "status")},
    }


def _say_models(models: list[dict[str, Any]]) -> None:
    for each in models:
        saw = (
            "saw them"
            if each["certain"]
            else "was trained at this place on another state or part of the data"
        )
        named = f" ({', '.join(each['aliases'])})" if each["aliases"] else ""
        say(f"{each['model']}{named} {saw}")


def retain(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="YAML: runs, monitor, registry.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is removed.")] = False,
    json: JsonFlag = False,
) -> None:
    """Remove what a policy no longer keeps.

    Without --yes it only names them. Runs that have not ended, and whatever belongs to a version with an alias, stay.

    Example: headrace retain policy.yaml
    """
    import datetime as dt

    from headrace.optionfile import read_options
    from headrace.retention import RetentionPolicy, overdue
    from headrace.retention import retain as remove

    wanted, now = read_options(policy, RetentionPolicy), dt.datetime.now(dt.UTC)
    found: dict[str, Any] = remove(wanted, now) if yes else vars(overdue(wanted, now))
    if json:
        print_json({"removed": yes, **found})
        return
    for what, held in found.items():
        named = [f"{name} ({days} days)" for name, days in held.items()] if isinstance(held, dict) else held
        say(f"{what}: {', '.join(named) or 'nothing'}")
    if not yes:
        say("nothing was removed; --yes does it")
