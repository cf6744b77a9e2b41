from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from headrace import cli, errors


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            errors.DataError("is broken", where="a.parquet", mend="write it anew"),
            2,
            "a.parquet: is broken; write it anew",
        ),
        (errors.ChecksFailedError("range", where="x"), 1, "x: range"),
        (errors.StorageError("disk full", where="/run"), 1, "/run: disk full"),
        (errors.WorkflowError("two\nlines"), 2, "two lines"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_its_exit_code(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    raising(monkeypatch, error)
    assert cli.run([]) == code
    assert capsys.readouterr().err == f"headrace: {line}\n"


def test_what_is_no_mistake_of_the_user_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    raising(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.run([])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nope"], "headrace: No such command 'nope'; see headrace --help"),
        (["run"], "headrace: WORKFLOW: is missing; name a workflow file, or a run by --resume"),
        (["run", "w", "--sed", "1"], "headrace: run: No such option: --sed"),
        (["run", "w", "--seed", "x"], "headrace: run: Invalid value for '--seed'"),
        (["models", "lst"], "headrace: models: No such command 'lst'"),
        (["models"], "headrace: models: Missing command; see headrace models --help"),
        (["profile", "nowhere"], "headrace: nowhere: "),
        (["run", "nowhere.yaml"], "headrace: nowhere.yaml: no such file"),
        (["check"], "headrace: check: no data given"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(line)
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_reader_that_goes_away_brings_no_traceback():
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "headrace", "schema"],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""
