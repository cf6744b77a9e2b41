"""Processes that listen: one, or several on one socket, with time limits for headers and an orderly end."""

from __future__ import annotations

import ipaddress
import math
import multiprocessing
import os
import shutil
import signal
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headrace.data import audit
from headrace.errors import HeadraceError, InputError, RunError
from headrace.serving import logs
from headrace.serving.keys import read_keys
from headrace.serving.loading import Models, Place

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

    from headrace.serving.keys import Keys
    from headrace.serving.observing import Observer
    from headrace.serving.options import ServeOptions

    Watching = Callable[[], tuple[Observer, Callable[[], Any] | None]]

_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_BACKLOG = 2048
_RESTART_SECONDS = 1.0
_FAILED_START = 3


def serve(options: ServeOptions, watching: Watching | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished.

    Parameters
    ----------
    options : ServeOptions
        What and how.
    watching : callable, optional
        Makes, once in each process, an observer and what gives the document about drift (or None). It must be
        picklable.

    Raises
    ------
    HeadraceError
        When a model, a key or the address cannot be used.
    """
    keys = check(options)
    version, *further = (
        Place(each, options.registry).find()[1] for each in (options.model, options.challenger) if each
    )
    served = {"asked": options.model, "challenger": "".join(further), "registry": options.registry}
    listener = _listen(options)
    host, port = listener.getsockname()[:2]
    scheme = "http" if options.tls_certificate is None else "https"
    shown = f"[{host}]" if ":" in host else host
    try:
        audit.record("served", version, address=f"{scheme}://{shown}:{port}", **served)
        if options.workers == 1:
            models = Models(options)
            logs.write("listening", url=f"{scheme}://{shown}:{port}", process=os.getpid())
            _run(options, models, keys, listener, watching)
        else:
            logs.write(
                "listening", url=f"{scheme}://{shown}:{port}", process=os.getpid(), workers=options.workers
            )
            _supervise(options, listener, watching)
    finally:
        listener.close()


def check(options: ServeOptions) -> Keys | None:
    """Hold options against each other, and read the keys.

    Raises
    ------
    InputError
        When they contradict each other, or anyone could ask from outside without a key.
    """
    if (options.share > 0 or options.shadow) != (options.challenger is not None):
        raise InputError(
            "a challenger needs a share or --shadow, and these need a challenger",
            where="--challenger",
            mend="add --share 0.1 or --shadow",
        )
    if options.shadow and options.share > 0:
        raise InputError("a shadow answers nobody", where="--share", mend="use --share or --shadow")
    if (options.tls_certificate is None) != (options.tls_key is None):
        raise InputError(
            "a certificate and its key go together", where="--tls-certificate", mend="give --tls-key too"
        )
    for path in (options.tls_certificate, options.tls_key):
        if path is not None and not Path(path).is_file():
            raise InputError("is no file", where=path)
    if options.tls_certificate is not None:
        try:
            # With an empty password, as OpenSSL would ask the terminal for that of an encrypted key.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                options.tls_certificate, options.tls_key, password=""
            )
        except OSError as error:
            raise InputError(
                f"cannot be used with {options.tls_key}: {error.strerror or error}",
                where=options.tls_certificate,
                mend="give the PEM of a certificate, and that of its key without a password",
            ) from error
    if options.no_keys and options.keys is not None:
        raise InputError("contradicts --keys", where="--no-keys")
    keys = None if options.no_keys else read_keys(options.keys)
    if keys is None and not options.no_keys and not _is_loopback(options.host):
        raise InputError(
            "anyone could ask from outside",
            where=f"--host {options.host}",
            mend="give --keys FILE (see headrace serve-key), or --no-keys",
        )
    return keys


class Patient(HttpToolsProtocol):
    """HTTP whose headers and body must come within a time: who sends them byte by byte holds no connection.

    One timer a connection looks now and then whether what is due has come: to set and cancel one for each part of each
    request takes as long as a small model.
    """

    patience = 10.0
    _due = math.inf
    _looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base does
        """Begin to wait for the first headers."""
        super().connection_made(transport)
        self._wait(1)
        self._look()

    def on_message_begin(self) -> None:
        """Begin to wait for the headers of this request."""
        super().on_message_begin()
        self._wait(1)

    def on_headers_complete(self) -> None:
        """Wait for the body: longer than the application does, which has an answer for whoever is late."""
        self._wait(2)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop waiting: all has come."""
        self._due = math.inf
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def _wait(self, times: int) -> None:
        self._due = self.loop.time() + times * self.patience

    def _look(self) -> None:
        now = self.loop.time()
        if now >= self._due:
            self.transport.abort()
        else:
            # Nothing that is begun after this look is due before the next one.
            self._looking = self.loop.call_at(min(self._due, now + self.patience), self._look)


def _run(
    options: ServeOptions,
    models: Models,
    keys: Keys | None,
    listener: socket.socket,
    watching: Watching | None,
) -> None:
    from headrace.serving.app import Server

    observer, drift = watching() if watching is not None else (None, None)
    app = Server(options, models, keys=keys, observer=observer, drift=drift).app
    Patient.patience = options.limits.seconds
    logs.configure()
    config = uvicorn.Config(
        app,
        http=Patient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(options.limits.seconds)),
        ssl_certfile=options.tls_certificate,
        ssl_keyfile=options.tls_key,
        backlog=_BACKLOG,
    )
    # uvicorn finishes what is under way and then raises the signal again for whoever was there before it: a server
    # that was told to end has ended well.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)


def _work(options: ServeOptions, listener: socket.socket, watching: Watching | None) -> None:
    """Be one of several processes."""
    try:
        _run(options, Models(options), check(options), listener, watching)
    except HeadraceError as error:
        logs.write("cannot serve", level="error", error=str(error))
        raise SystemExit(_FAILED_START) from error
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _supervise(options: ServeOptions, listener: socket.socket, watching: Watching | None) -> None:
    """Keep the processes running until a signal comes, then let each finish."""
    context = multiprocessing.get_context("spawn")
    ending = threading.Event()
    folder = tempfile.mkdtemp(prefix="headrace-metrics-")
    before = {
        number: signal.signal(number, lambda *_: ending.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    os.environ[_MULTIPROCESS] = folder

    def start() -> BaseProcess:
        process = context.Process(target=_work, args=(options, listener, watching))
        try:
            process.start()
        except OSError as error:
            raise RunError(f"a process cannot be started ({error.strerror})", where="--workers") from error
        return process

    processes: list[BaseProcess] = []
    try:
        while len(processes) < options.workers:
            processes.append(start())
        while not ending.wait(0.2):
            for number, process in enumerate(processes):
                if process.is_alive():
                    continue
                if process.exitcode == _FAILED_START:
                    raise RunError("a worker could not serve; the log says why", where="--workers")
                logs.write("worker ended", level="error", process=process.pid, code=process.exitcode)
                _forget(process)
                time.sleep(_RESTART_SECONDS)
                processes[number] = start()
    finally:
        _end(processes, options.limits.seconds + 5)
        for number, handler in before.items():
            signal.signal(number, handler)
        del os.environ[_MULTIPROCESS]
        shutil.rmtree(folder, ignore_errors=True)


def _end(processes: list[BaseProcess], seconds: float) -> None:
    """Tell processes to finish, and end those that do not in time."""
    for process in processes:
        if process.is_alive():
            process.terminate()
    until = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.1, until - time.monotonic()))
        if process.is_alive():
            process.kill()


def _forget(process: BaseProcess) -> None:
    """Take what a process that has ended said of the moment out of the metrics."""
    if process.pid is not None:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(process.pid)  # type: ignore[no-untyped-call]  # the library types it partly


def _listen(options: ServeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen: {error.strerror}",
            where=f"{options.host}:{options.port}",
            mend="give another --port",
        ) from error
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
