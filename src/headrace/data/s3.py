"""Ranges of objects on S3, read by botocore: without an event loop, each answer held against the etag of its object."""

from __future__ import annotations

import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

from headrace.data.retrying import failures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CREDENTIALS = {"key": "aws_access_key_id", "secret": "aws_secret_access_key", "token": "aws_session_token"}
"""Options of s3fs by which credentials are given, as botocore names them."""

UNDERSTOOD = {*CREDENTIALS, "anon", "client_kwargs", "config_kwargs", "endpoint_url", "profile", "use_ssl"}
"""Options of s3fs that the client here is made with as well; where there are others, s3fs reads."""

STREAMS = 8
"""Requests under way at once for one chunk."""

CONNECTIONS = 64
"""Connections that are kept, for all threads of a process."""

_CLIENTS: dict[int, Any] = {}
"""By the identity of the file system: fsspec takes two for equal that were made in different environments."""
_LOCK = threading.Lock()


def reads(filesystem: Any) -> bool:
    """Whether ranges of this file system are read here: it is that of s3fs, with options that are understood."""
    library = sys.modules.get("s3fs")  # without it the file system is none of its
    if library is None or type(filesystem) is not library.S3FileSystem:
        return False
    from botocore.config import Config  # type: ignore[import-untyped] # it ships no types

    options = filesystem.storage_options
    known: bool = (options.get("config_kwargs") or {}).keys() <= Config.OPTION_DEFAULTS.keys()
    return known and options.keys() <= UNDERSTOOD


def read_ranges(
    filesystem: Any,
    path: str,
    ranges: Sequence[tuple[int, int]],
    stamp: str,
    require_same: Callable[[], None],
) -> list[bytes | Exception]:
    """Read ranges of one object, several at once, each by one request.

    Parameters
    ----------
    filesystem : s3fs.S3FileSystem
        One that `reads`; its credentials, endpoint and time limits hold here too.
    path : str
        Bucket and key.
    ranges : sequence of (int, int)
        First byte and end of each.
    stamp : str
        Etag of the object that is meant.
    require_same : callable
        Called when an answer names another etag, or none; raises when the object is another.

    Returns
    -------
    list of bytes or Exception
        In the order of `ranges`; where a request failed, how, in the terms of s3fs.
    """
    from botocore.exceptions import ClientError  # type: ignore[import-untyped] # it ships no types
    from s3fs.errors import translate_boto_error

    client = _client_of(filesystem)
    bucket, key, _ = filesystem.split_path(path)

    def read(span: tuple[int, int]) -> bytes | Exception:
        try:
            answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={span[0]}-{span[1] - 1}")
            with closing(answer["Body"]) as body:
                content: bytes = body.read()
        except ClientError as error:
            told: Exception = translate_boto_error(error)
            return told
        except failures() as error:
            return error
        if answer.get("ETag") != stamp:
            require_same()
        return content

    if len(ranges) == 1:
        return [read(ranges[0])]
    with ThreadPoolExecutor(min(STREAMS, len(ranges))) as pool:
        return list(pool.map(read, ranges))


def _client_of(filesystem: Any) -> Any:
    with _LOCK:
        if id(filesystem) not in _CLIENTS:
            _CLIENTS[id(filesystem)] = _new_client(filesystem)
            weakref.finalize(filesystem, _close, id(filesystem))
        return _CLIENTS[id(filesystem)]


def _close(number: int) -> None:
    _CLIENTS.pop(number).close()


def _new_client(filesystem: Any) -> Any:
    import botocore.session  # type: ignore[import-untyped] # it ships no types
    from botocore import UNSIGNED
    from botocore.config import Config

    options = filesystem.storage_options
    config = {
        "connect_timeout": filesystem.connect_timeout,
        "read_timeout": filesystem.read_timeout,
        "max_pool_connections": CONNECTIONS,
        **(options.get("config_kwargs") or {}),
    }
    given = {
        CREDENTIALS.get(name, name): options[name]
        for name in (*CREDENTIALS, "endpoint_url")
        if options.get(name)
    }
    if options.get("anon"):
        config["signature_version"] = UNSIGNED
        given = {name: value for name, value in given.items() if name not in CREDENTIALS.values()}
    given = {"use_ssl": filesystem.use_ssl, **given, **(options.get("client_kwargs") or {})}
    session = botocore.session.Session(profile=options.get("profile"))
    return session.create_client("s3", config=Config(**config), **given)
