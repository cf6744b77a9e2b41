"""Around every request: its id, a place among those under way, security headers, a line in the log, no trace let out."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.serving.answers import encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from headrace.serving.options import LimitOptions

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

TRACE = "headrace.trace"
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})
_SHORT = 1 << 16
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure of the program
    """A request that is answered with an error.

    Parameters
    ----------
    status : int
        The HTTP status.
    message : str
        What is wrong.
    headers : dict, optional
        Headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.headers = headers or {}


@dataclass
class Trace:
    """What is known of a request so far."""

    request_id: str
    method: str
    path: str
    start: float
    status: int = 0
    seconds: float = 0.0
    version: str = ""
    arm: str = ""
    key: str = ""
    rows: int = 0
    error: str = ""
    values: Any = field(default=None, repr=False)
    """Feature values, where they may be logged."""


class Front:
    """The outermost layer of the application.

    Parameters
    ----------
    app : ASGI application
        What answers.
    limits : LimitOptions
        What is taken at most.
    ended : callable
        Is told of each request that has ended.
    under_way : callable
        Is told by how many the requests under way have changed.
    tls : bool
        Whether browsers shall come by TLS only from now on.
    """

    def __init__(
        self,
        app: App,
        limits: LimitOptions,
        *,
        ended: Callable[[Trace], None],
        under_way: Callable[[int], None],
        tls: bool = False,
    ) -> None:
        self._app = app
        self._most = limits.concurrent
        self._count = 0
        self._ended = ended
        self._under_way = under_way
        self._headers = (*_SECURITY, _TRANSPORT) if tls else _SECURITY

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = Trace(_request_id(scope), scope["method"], scope["path"], time.perf_counter())
        scope[TRACE] = trace
        added = [*self._headers, (b"x-request-id", trace.request_id.encode())]

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                headers = [*message.get("headers", ()), *added]
                if not any(name == _POLICY[0] for name, _ in headers):
                    headers.append(_POLICY)
                if trace.status >= 400 and _is_long(scope):
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
            await send(message)

        if self._count >= self._most and trace.path not in _ALWAYS:
            trace.error = "too many requests at once"
            refused = Refused(429, trace.error, {"retry-after": "1"})
            await send_error(answered, trace, refused)
        else:
            self._count += 1
            self._under_way(1)
            try:
                await self._app(scope, receive, answered)
            except Exception as error:  # noqa: BLE001 - the last one that can keep a trace in the house
                trace.error = (
                    f"{type(error).__name__} after the answer had begun"
                    if trace.status
                    else type(error).__name__
                )
                if not trace.status:
                    await send_error(answered, trace, Refused(500, "internal error"))
            finally:
                self._count -= 1
                self._under_way(-1)
        trace.seconds = time.perf_counter() - trace.start
        self._ended(trace)


def error_body(trace: Trace, status: int, message: str, **more: str) -> bytes:
    """Write what is said of an error: ``status``, ``message``, ``request_id``, and where and how to mend it."""
    said = {key: value for key, value in more.items() if value}
    return encode({"error": {"status": status, "message": message, **said, "request_id": trace.request_id}})


async def send_error(send: Send, trace: Trace, refused: Refused) -> None:
    """Answer with an error."""
    body = error_body(trace, refused.status, refused.message)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in refused.headers.items()),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_all(receive: Receive, headers: Any, limits: LimitOptions) -> bytes:
    """Read a body, no more than is allowed and no longer.

    Raises
    ------
    Refused
        413 when it is too large, at once where its length is told; 408 when it comes too slowly; 415 when it is
        compressed.
    """
    if headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "the body must not be compressed")
    told = headers.get("content-length", "0")
    if not told.isdecimal() or len(told) > 18 or int(told) > limits.body_bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.seconds):
            parts, size = [], 0
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the client has gone")
                part = message.get("body", b"")
                size += len(part)
                if size > limits.body_bytes:
                    raise _too_large(limits)
                parts.append(part)
                if not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError:
        raise Refused(408, "the body came too slowly", {"connection": "close"}) from None


def _is_long(scope: MutableMapping[str, Any]) -> bool:
    """Tell whether a body is not worth being read to its end once its request is refused.

    A short one is read, since closing a connection with unread bytes may take the answer away from the client.
    """
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not (value.isdigit() and len(value) < 9 and int(value) <= _SHORT)
    return False


def _too_large(limits: LimitOptions) -> Refused:
    return Refused(413, f"the body has more than {limits.body_bytes:,} bytes")


def _request_id(scope: MutableMapping[str, Any]) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if _ID.fullmatch(text):
                return str(text)
    return secrets.token_hex(16)
