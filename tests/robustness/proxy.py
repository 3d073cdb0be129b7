"""A TCP proxy before a database that lets a COMMIT through and cuts the connection before its answer comes back."""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.robustness.wire import Frames

CHUNK_BYTES = 65_536


class CommitProxy:
    """Listens on a port of its own while its block lasts, and passes on what it gets unless it is told to cut.

    Args:
        port: the database's port on this machine.
        frames: makes the reader of the database's protocol, one for each connection.
    """

    def __init__(self, port: int, frames: Callable[[], Frames]) -> None:
        self.port = 0
        self.open_connections = 0
        self._upstream_port = port
        self._frames = frames
        self._next: _Cut | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def cut_commit(self, *, answered: bool, timeout_s: float) -> None:
        """Cuts the next connection that asks for a commit, and returns once it is cut.

        Args:
            answered: cut when the database has committed and answers; else as soon as the request was passed on.
            timeout_s: how long to wait for a commit; fails with TimeoutError.
        """
        cut = self._next = _Cut(answered=answered)
        await asyncio.wait_for(cut.done.wait(), timeout_s)

    async def _connected(self, client: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        try:
            upstream, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            client_writer.transport.abort()
            return
        self.open_connections += 1
        connection = _Connection(client_writer, upstream_writer)
        requests = asyncio.create_task(self._pass_requests(client, connection))
        answers = asyncio.create_task(connection.pass_answers(upstream))
        self._pipes |= {requests, answers}
        try:
            await asyncio.wait((requests, answers), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.open_connections -= 1
            for pipe in (requests, answers):
                pipe.cancel()
            await asyncio.gather(requests, answers, return_exceptions=True)
            self._pipes -= {requests, answers}
            connection.close()

    async def _pass_requests(self, client: asyncio.StreamReader, connection: "_Connection") -> None:
        frames = self._frames()
        with contextlib.suppress(ConnectionError):
            while data := await client.read(CHUNK_BYTES):
                end = frames.commit_end(data)
                if not end or self._next is None:
                    await connection.send(data)
                    continue
                cut, self._next = self._next, None
                connection.muted = True
                await connection.send(data[:end])
                if cut.answered:
                    await connection.answered.wait()
                cut.done.set()
                return


class _Cut:
    """A connection that is to be cut."""

    def __init__(self, *, answered: bool) -> None:
        self.answered = answered
        self.done = asyncio.Event()


class _Connection:
    """The two ends of a connection."""

    def __init__(self, client: asyncio.StreamWriter, upstream: asyncio.StreamWriter) -> None:
        self.muted = False
        """Whether answers go nowhere."""
        self.answered = asyncio.Event()
        """Set by the first answer that went nowhere."""
        self._client = client
        self._upstream = upstream

    async def send(self, data: bytes) -> None:
        """Passes data on to the database, and returns once the system has taken it all."""
        self._upstream.write(data)
        self._upstream.transport.set_write_buffer_limits(0)
        await self._upstream.drain()

    async def pass_answers(self, upstream: asyncio.StreamReader) -> None:
        """Passes on what the database says, until it closes."""
        with contextlib.suppress(ConnectionError):
            while data := await upstream.read(CHUNK_BYTES):
                if self.muted:
                    self.answered.set()
                    continue
                self._client.write(data)
                await self._client.drain()
        self.answered.set()

    def close(self) -> None:
        """Cuts the client off, and lets the database read to the end."""
        self._client.transport.abort()
        self._upstream.close()
