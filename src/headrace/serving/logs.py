"""Structured logs: one JSON object a line on stderr, without the values of features unless they are allowed."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

from headrace.packaging.signature import finite

if TYPE_CHECKING:
    from headrace.serving.limits import Trace

_encode = json.JSONEncoder(ensure_ascii=True, default=str, separators=(",", ":")).encode


def write(event: str, *, level: str = "info", **said: Any) -> None:
    """Write one line; what is empty is left out."""
    kept = {key: value for key, value in said.items() if value not in ("", None)}
    line = {"at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"), "level": level, "event": event}
    sys.stderr.write(f"{_encode({**line, **kept})}\n")


def write_request(trace: Trace) -> None:
    """Write the line of a request that has ended."""
    write(
        "request",
        level="error" if trace.status >= 500 or not trace.status else "info",
        request_id=trace.request_id,
        method=trace.method,
        path=trace.path[:200],
        status=trace.status,
        milliseconds=round(trace.seconds * 1000, 3),
        rows=trace.rows or None,
        model=trace.version,
        arm=trace.arm,
        key=trace.key,
        error=trace.error,
        values=None if trace.values is None else finite(trace.values),
    )


class JsonHandler(logging.Handler):
    """Writes what libraries log in the same form: the message, and of an exception its type and place alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        said: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[0] is not None:
            # The text of an exception may hold a value of a request.
            said["exception"] = record.exc_info[0].__name__
            write(record.msg if isinstance(record.msg, str) else "", level=record.levelname.lower(), **said)
            return
        write(record.getMessage(), level=record.levelname.lower(), **said)


def configure() -> None:
    """Send the records of the server's libraries through `JsonHandler`."""
    logger = logging.getLogger("uvicorn.error")
    logger.handlers = [JsonHandler()]
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    # uvicorn's own lines about requests are off; its access logger must find no handler at all.
    logging.getLogger("uvicorn.access").propagate = False
