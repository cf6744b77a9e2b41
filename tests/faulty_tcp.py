"""A faulty network for tests: TCP proxies that cut, hold, and slow what goes between two programs that run.

What is held is not lost: as on a real network, the sender's system sends it again until it comes through or the connection ends.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

Way = Literal["in", "out"]
PIECE = 16 << 10
"""Bytes that are passed on at once."""


@dataclass
class Network:
    """All ways to one machine, and what is wrong with them now; tests change it while connections are open."""

    loop: asyncio.AbstractEventLoop
    is_cut: bool = False
    """Whether new connections are reset."""
    bytes_per_second: float = float("inf")
    """Of all connections together, for each way."""
    latency: float = 0.0
    """Seconds that every piece takes besides."""
    passed: dict[Way, int] = field(default_factory=lambda: {"in": 0, "out": 0})
    """Bytes that came through."""
    _servers: list[asyncio.Server] = field(default_factory=list)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _through: dict[Way, asyncio.Event] = field(
        default_factory=lambda: {"in": asyncio.Event(), "out": asyncio.Event()}
    )
    _turns: dict[Way, asyncio.Lock] = field(
        default_factory=lambda: {"in": asyncio.Lock(), "out": asyncio.Lock()}
    )

    def __post_init__(self) -> None:
        self.heal()

    def proxy(self, upstream: int, *, into: bool) -> int:
        """Open a way to a port of this machine; `into` when the faulty machine is the one that listens there.

        Returns
        -------
        int
            The port to connect to in its place.
        """
        port = free_port()
        asyncio.run_coroutine_threadsafe(self._listen(port, upstream, into=into), self.loop).result(10)
        return port

    def cut(self) -> None:
        """Reset every connection, and those that are tried."""
        self.is_cut = True
        asyncio.run_coroutine_threadsafe(self._reset_all(), self.loop).result(10)

    def hold(self, way: Way) -> None:
        """Let nothing through one way, as seen from that machine; connections stay open: no FIN, no RST."""
        self.loop.call_soon_threadsafe(self._through[way].clear)

    def heal(self) -> None:
        """Let everything through; what was held goes on, what was reset does not come back."""
        self.is_cut = False
        for through in self._through.values():
            self.loop.call_soon_threadsafe(through.set)
        self.bytes_per_second, self.latency = float("inf"), 0.0

    def end(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(10)

    async def _listen(self, port: int, upstream: int, *, into: bool) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.is_cut:
                return _reset(writer)
            try:
                there, back = await asyncio.open_connection("127.0.0.1", upstream)
            except OSError:
                return _reset(writer)
            self._open |= {writer, back}
            ways: tuple[Way, Way] = ("in", "out") if into else ("out", "in")
            towards, away = ways
            await asyncio.gather(self._pass(reader, back, towards), self._pass(there, writer, away))
            self._open -= {writer, back}
            return None

        self._servers.append(await asyncio.start_server(connected, "127.0.0.1", port))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                await self._through[way].wait()
                await asyncio.sleep(self.latency)
                async with self._turns[way]:
                    await asyncio.sleep(len(piece) / self.bytes_per_second)
                writer.write(piece)
                await writer.drain()
                self.passed[way] += len(piece)
        # the end of a connection does not come through either
        await self._through[way].wait()
        writer.close()

    async def _reset_all(self) -> None:
        for writer in self._open:
            _reset(writer)

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reset_all()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):  # it has ended already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def network() -> Iterator[Network]:
    """Run a network without faults, which may be given some."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = Network(loop)
    try:
        yield made
    finally:
        made.end()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
