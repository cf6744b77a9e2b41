from __future__ import annotations

import subprocess
import sys

import pytest

from headrace import __version__
from headrace.cli import app

LIST_MODULES = """
import sys
from headrace.cli import run
code = run(sys.argv[1:])
print("\\n".join(["MODULES", *sys.modules]))
raise SystemExit(code)
"""
HEAVY = {
    "numpy", "pandas", "pyarrow", "dask", "distributed", "sklearn", "scipy", "pydantic", "rich", "jinja2", "yaml",
    "fsspec", "skops", "psutil", "asyncio",
}  # fmt: skip
COMMANDS = [
    ["sample"], ["init"], ["ingest"], ["profile"], ["compare"], ["check"], ["plan"], ["run"], ["schema"],
    ["score"], ["serve"], ["serve-key"], ["submit"],
    ["models"], ["models", "list"], ["models", "show"], ["models", "export"], ["models", "verify"],
    ["models", "compare"], ["models", "promote"], ["models", "rollback"], ["models", "prune"],
    ["jobs"], ["jobs", "list"], ["jobs", "status"], ["jobs", "logs"], ["jobs", "wait"], ["jobs", "cancel"], ["jobs", "resume"],
    ["cluster"], ["cluster", "check"], ["cluster", "up"], ["cluster", "status"], ["cluster", "down"], ["cluster", "certs"],
    ["cluster", "schema"],
    ["monitor"], ["monitor", "report"], ["monitor", "watch"], ["monitor", "ab"], ["monitor", "ingest"], ["monitor", "roll"],
    ["datasheet"], ["audit"], ["audit", "show"], ["audit", "verify"], ["erase"], ["retain"], ["doctor"],
]  # fmt: skip


def modules_after(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.partition("MODULES\n")[2].split()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], []])
def test_help_loads_nothing_heavy(arguments: list[str]):
    modules = modules_after(*arguments)
    # typer itself takes pydantic to parse what comes before a command
    typers_own = {"pydantic", "asyncio"} if arguments in ([], ["run", "--help"]) else set()
    assert {name.partition(".")[0] for name in modules} & HEAVY <= typers_own
    # time is what matters, and modules are what it is made of; Python and typer alone are about 180
    assert typers_own or len(modules) < 260


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str], capsys: pytest.CaptureFixture[str]):
    app([*command, "--help"], prog_name="headrace", standalone_mode=False)
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: headrace {' '.join(command)}")
    if command[0] not in {"models", "jobs", "cluster", "monitor", "audit"} or len(command) > 1:
        assert f"Example: headrace {' '.join(command)}" in text


def test_every_command_is_in_this_test(capsys: pytest.CaptureFixture[str]):
    app(["--help"], prog_name="headrace", standalone_mode=False)
    listed = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0]
    assert {line.split()[0] for line in listed.splitlines()} == {command[0] for command in COMMANDS}
    assert "..." not in listed


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]):
    app(["--version"], prog_name="headrace", standalone_mode=False)
    assert capsys.readouterr().out == f"headrace {__version__}\n"
