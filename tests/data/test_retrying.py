from __future__ import annotations

import errno

import aiohttp
import pytest

from headrace.data import retrying
from headrace.data.retrying import failures, passes, patiently

botocore = pytest.importorskip("botocore.exceptions", reason="needs headrace[s3]")


def answered(status: int) -> OSError:
    """An error as s3fs makes it of an answer whose word it does not know."""
    told = {"Error": {"Code": "Other"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = OSError(errno.EIO, "other")
    error.__cause__ = botocore.ClientError(told, "GetObject")
    return error


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_answers_that_pass(status: int) -> None:
    assert passes(answered(status))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412, 501])
def test_answers_that_do_not(status: int) -> None:
    assert not passes(answered(status))


def test_errors_of_libraries() -> None:
    assert passes(botocore.ReadTimeoutError(endpoint_url="http://x"))
    assert passes(botocore.ConnectTimeoutError(endpoint_url="http://x"))
    assert passes(aiohttp.ClientPayloadError())
    assert passes(TimeoutError())
    assert passes(ConnectionResetError())
    assert passes(OSError(errno.EBUSY, "SlowDown"))
    assert not passes(botocore.NoCredentialsError())
    assert not passes(FileNotFoundError("x"))
    assert not passes(PermissionError("x"))
    assert not passes(OSError(errno.EINVAL, "x"))
    assert not passes(ValueError("x"))
    assert {OSError, botocore.BotoCoreError, aiohttp.ClientError} <= set(failures())


def test_waits_grow_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("headrace.data.retrying.time.sleep", waits.append)
    monkeypatch.setattr("headrace.data.retrying.random.uniform", lambda _, bound: bound)
    fails = iter([True] * 10)

    def action() -> str:
        if next(fails, False):
            raise TimeoutError
        return "done"

    assert patiently(action) == "done"
    assert waits == [min(retrying.LONGEST, retrying.SHORTEST * 2**i) for i in range(10)]


def test_who_has_no_patience_is_told_at_once() -> None:
    tried = []

    def action() -> None:
        tried.append(1)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        patiently(action, patience=-1.0)
    assert len(tried) == 1
