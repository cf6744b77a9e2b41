"""HTTP around the models of a server: predict, feedback, health, metrics, OpenAPI and the page."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from headrace.errors import InputError
from headrace.serving import logs
from headrace.serving.answers import encode, rows_of, table_of
from headrace.serving.batching import Batch, Batcher
from headrace.serving.bodies import ARROW, JSON, TooManyRowsError, read_body
from headrace.serving.feedback import read_feedback
from headrace.serving.limits import TRACE, Front, Refused, Trace, error_body, read_all
from headrace.serving.live import Live
from headrace.serving.metrics import CONTENT_TYPE, Metrics
from headrace.serving.observing import Failed, Labelled, Predicted
from headrace.serving.openapi import document
from headrace.serving.page import described, page
from headrace.serving.routing import CHALLENGER, CHAMPION, Routing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping

    from headrace.serving.keys import Keys
    from headrace.serving.limits import App, Receive, Send
    from headrace.serving.loading import Models, Slot
    from headrace.serving.observing import Observer
    from headrace.serving.options import ServeOptions
    from headrace.serving.predictor import Answer

    Handler = Callable[[Request, Trace], Awaitable[Response]]

_PATHS = frozenset(
    {"/", "/v1/predict", "/v1/feedback", "/v1/model", "/healthz", "/readyz", "/metrics", "/openapi.json"}
)
_LARGE = 1 << 18
"""Bytes of a body from which on it is read in a thread, so that small requests need not wait for it."""
_SHADOWS = 64


class Server:
    """The application of one process.

    Parameters
    ----------
    options : ServeOptions
        How it serves.
    models : Models
        Loaded and warm.
    keys : Keys, optional
        Who may ask; anyone when left out.
    observer : Observer, optional
        Is told what was answered, and true labels that come later.
    drift : callable, optional
        Gives a JSON document about drift for the page.
    """

    def __init__(
        self,
        options: ServeOptions,
        models: Models,
        *,
        keys: Keys | None = None,
        observer: Observer | None = None,
        drift: Callable[[], Any] | None = None,
    ) -> None:
        self.options = options
        self.models = models
        self.metrics = Metrics()
        self._keys = keys
        self._observer = observer
        self._drift = drift
        self._live = Live()
        self._ready = False
        self._routing = Routing(options.share, options.shadow)
        self._batcher = Batcher(self._told, options.limits.seconds)
        self._shadows: set[asyncio.Task[None]] = set()
        self._documents: dict[str, bytes] = {}
        inner = FastAPI(lifespan=self._lifespan, openapi_url=None, docs_url=None, redoc_url=None)
        routes: tuple[tuple[str, str, Handler], ...] = (
            ("POST", "/v1/predict", self._predict),
            ("POST", "/v1/feedback", self._feedback),
            ("GET", "/v1/model", self._model),
            ("GET", "/healthz", self._health),
            ("GET", "/readyz", self._readiness),
            ("GET", "/metrics", self._measured),
            ("GET", "/openapi.json", self._openapi),
            ("GET", "/", self._page),
        )
        endpoints = {(method, path): _handled(handler) for method, path, handler in routes}
        for (method, path), endpoint in endpoints.items():
            inner.add_route(path, endpoint, methods=[method])
        inner.add_exception_handler(HTTPException, _unknown)
        self.app = Front(
            _directly(endpoints, inner),
            options.limits,
            ended=self._ended,
            under_way=self.metrics.under_way.inc,
            tls=options.tls_certificate is not None,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        for slot in self.models.slots.values():
            self.metrics.serves(slot)
            logs.write("serving", model=slot.version, arm=slot.arm, runtime=slot.predictor.runtime)
        watch = None
        if self.models.moving and self.options.reload_seconds > 0:
            watch = asyncio.create_task(self._watch())
        self._ready = True
        yield
        self._ready = False
        if watch is not None:
            watch.cancel()
        if self._shadows:
            await asyncio.wait(self._shadows, timeout=1.0)
        self._batcher.close()

    async def _watch(self) -> None:
        old = dict(self.models.slots)

        def moved(slot: Slot) -> None:
            self.metrics.serves(slot, old[slot.arm])
            self.metrics.reloads.labels(slot.arm, "done").inc()
            logs.write("model exchanged", model=slot.version, arm=slot.arm, before=old[slot.arm].version)
            old[slot.arm] = slot

        def failed(why: str) -> None:
            self.metrics.reloads.labels("", "failed").inc()
            logs.write("model not exchanged", level="error", error=why)

        await self.models.watch(self.options.reload_seconds, moved=moved, failed=failed)

    async def _predict(self, request: Request, trace: Trace) -> Response:
        self._allow(request, trace, "predict")
        headers, limits = request.headers, self.options.limits
        kind = _media_type(request, (JSON, ARROW))
        content = await read_all(request.receive, headers, limits)
        if len(content) > _LARGE:
            body = await asyncio.to_thread(read_body, content, kind, limits.rows)
        else:
            body = read_body(content, kind, limits.rows)
        trace.rows = body.rows
        slots = self.models.slots
        arm = (
            self._routing.arm(headers.get("x-request-key") or trace.request_id)
            if len(slots) > 1
            else CHAMPION
        )
        slot = slots[arm]
        signature = slot.predictor.signature
        if body.rows > _SHADOWS:
            feeds = await asyncio.to_thread(body.feeds, signature)
        else:
            feeds = body.feeds(signature)
        if self.options.log_values:
            trace.values = {name: tensor[:, 0].tolist() for name, tensor in feeds.items()}
        trace.version, trace.arm = slot.version, arm
        try:
            answer = await self._batcher.answer(slot, trace.request_id, feeds)
        except TimeoutError:
            raise Refused(503, "the model took too long", {"retry-after": "1"}) from None
        if self._routing.shadow and CHALLENGER in slots:
            self._ask_shadow(slots[CHALLENGER], trace.request_id, body)
        if answer.rejected.all():
            raise _rejection(answer)
        return _answered(answer, slot, trace, arrow=headers.get("accept") == ARROW)

    def _ask_shadow(self, slot: Slot, request_id: str, body: Any) -> None:
        if len(self._shadows) >= _SHADOWS:
            self.metrics.shadow_failures.inc()
            return

        async def ask() -> None:
            try:
                feeds = body.feeds(slot.predictor.signature)
                await self._batcher.answer(slot, request_id, feeds, shadow=True)
            except Exception:  # noqa: BLE001 - a shadow never comes between the model and its answer
                self.metrics.shadow_failures.inc()

        task = asyncio.get_running_loop().create_task(ask())
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _feedback(self, request: Request, trace: Trace) -> Response:
        self._allow(request, trace, "feedback")
        _media_type(request, (JSON,))
        content = await read_all(request.receive, request.headers, self.options.limits)
        signature = self.models.slots[CHAMPION].predictor.signature
        request_id, labels = read_feedback(content, signature, self.options.limits.rows)
        self.metrics.labels.inc(len(labels))
        if self._observer is not None:
            self._observer.observe(Labelled(time.time(), request_id, labels))
        return _json(
            {"request_id": request_id, "labels": len(labels), "kept": self._observer is not None}, 202
        )

    async def _model(self, request: Request, trace: Trace) -> Response:
        self._allow(request, trace, "predict")
        drift = None if self._drift is None else await asyncio.to_thread(self._drift)
        return _json(described(self.models.slots, live=self._live.figures(), drift=drift))

    async def _health(self, _request: Request, _trace: Trace) -> Response:
        return _json({"status": "alive"})

    async def _readiness(self, _request: Request, _trace: Trace) -> Response:
        if not self._ready:
            raise Refused(503, "not ready", {"retry-after": "1"})
        return _json({"status": "ready", "models": [slot.version for slot in self.models.slots.values()]})

    async def _measured(self, request: Request, trace: Trace) -> Response:
        self._allow(request, trace, "admin")
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def _openapi(self, request: Request, trace: Trace) -> Response:
        self._allow(request, trace, "predict")
        slot = self.models.slots[CHAMPION]
        if slot.version not in self._documents:
            described_ = document(
                slot.predictor.signature, slot.version, self.options.limits, keys=self._keys is not None
            )
            self._documents = {slot.version: encode(described_)}
        return Response(self._documents[slot.version], media_type=JSON)

    async def _page(self, _request: Request, _trace: Trace) -> Response:
        # The page itself holds nothing about the model: it asks for that, with the key that is typed into it.
        text, policy = page()
        return Response(text, media_type="text/html", headers={"content-security-policy": policy})

    def _allow(self, request: Request, trace: Trace, scope: str) -> None:
        if self._keys is None:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        key = self._keys.find(given)
        if key is None:
            message = "the key is unknown" if given else "a key is needed"
            raise Refused(401, message, {"www-authenticate": "Bearer"})
        trace.key = key.name
        if not key.may(scope):
            raise Refused(403, f"the key does not open {scope}")

    def _told(self, batch: Batch) -> None:
        self.metrics.batch(batch)
        if self._observer is None:
            return
        self._observer.observe(
            Predicted(
                at=time.time(),
                version=batch.slot.version,
                arm=batch.slot.arm,
                feeds=batch.feeds,
                outputs=batch.answer.outputs,
                seconds=batch.seconds,
                findings=tuple(batch.answer.findings),
                request_ids=batch.request_ids,
                request_rows=batch.request_rows,
                shadow=batch.shadow,
            )
        )

    def _ended(self, trace: Trace) -> None:
        path = trace.path if trace.path in _PATHS else "other"  # a path of a stranger must not become a label
        self.metrics.request(path, trace.status, trace.seconds, trace.version, trace.arm)
        if path == "/v1/predict":
            self._live.add(trace.seconds, trace.arm, trace.status)
            if trace.status >= 400 and self._observer is not None:
                self._observer.observe(Failed(time.time(), trace.status))
        if self.options.log == "requests" or trace.status >= 500 or not trace.status:
            logs.write_request(trace)


def _directly(
    endpoints: Mapping[tuple[str, str], Callable[[Request], Awaitable[Response]]], inner: App
) -> App:
    """Give requests for an endpoint to it at once: the framework's layers take as long as a small model does."""

    async def ask(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        endpoint = endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await inner(scope, receive, send)
            return
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)

    return ask


def _handled(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Turn what a handler raises into an answer; the text of an unexpected error stays in the house."""

    async def handle(request: Request) -> Response:
        trace: Trace = request.scope[TRACE]
        try:
            return await handler(request, trace)
        except Refused as refused:
            trace.error = refused.message
            body = error_body(trace, refused.status, refused.message)
            return Response(body, refused.status, refused.headers, JSON)
        except InputError as error:
            # Values are told to whoever sent them, and not to the log.
            trace.error = error.where or "wrong input"
            status = 413 if isinstance(error, TooManyRowsError) else 422
            return Response(
                error_body(trace, status, error.what, where=error.where, mend=error.mend),
                status,
                media_type=JSON,
            )
        except Exception as error:  # noqa: BLE001 - no trace goes out
            trace.error = type(error).__name__
            mark = secrets.token_hex(4)
            logs.write("failure", level="error", request_id=trace.request_id, mark=mark, place=_place(error))
            return Response(error_body(trace, 500, f"internal error {mark}"), 500, media_type=JSON)

    return handle


def _place(error: BaseException) -> str:
    """Where an error was raised: files and lines, without the values that its text may hold."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' < '.join(reversed(frames[-6:]))}"


async def _unknown(request: Request, error: Exception) -> Response:
    """Answer for a path or method that there is not."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = str(error.detail) if isinstance(error, HTTPException) else "internal error"
    headers = dict(getattr(error, "headers", None) or {})
    return Response(error_body(request.scope[TRACE], status, message), status, headers, JSON)


def _answered(answer: Answer, slot: Slot, trace: Trace, *, arrow: bool) -> Response:
    said = {"model": slot.version, "arm": trace.arm, "request_id": trace.request_id}
    classes = slot.predictor.signature.classes
    if arrow:
        return Response(table_of(answer, classes, said=said), media_type=ARROW)
    return Response(encode({**said, "rows": rows_of(answer, classes)}), media_type=JSON)


def _rejection(answer: Answer) -> InputError:
    first = next(finding for finding in answer.findings if finding.rejected)
    whats = {
        "range": "is outside of the range of the training data",
        "category": "is a category that training has not seen",
        "missing": "is missing, and never was in training",
    }
    return InputError(whats[first.check], where=f"row {first.rows[0]}: {first.column}")


def _media_type(request: Request, known: tuple[str, ...]) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in known:
        raise Refused(415, f"send {' or '.join(known)}")
    return kind


def _json(content: Any, status: int = 200) -> Response:
    return Response(encode(content), status, media_type=JSON)
