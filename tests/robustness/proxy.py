"""A TCP proxy before a database that lets a COMMIT through and cuts the connection before its answer comes back."""

import asyncio
import contextlib
from collections.abc import Callable

from tests.robustness.listener import Relay
from tests.robustness.wire import Frames

CHUNK_BYTES = 65_536


class CommitProxy(Relay):
    """Passes on what it gets unless it is told to cut.

    Args:
        port: the database's port on this machine.
        frames: makes the reader of the database's protocol, one for each connection.
    """

    def __init__(self, port: int, frames: Callable[[], Frames]) -> None:
        super().__init__(port)
        self.open_connections = 0
        self._frames = frames
        self._next: _Cut | None = None

    async def cut_commit(self, *, answered: bool, timeout_s: float) -> None:
        """Cuts the next connection that asks for a commit, and returns once it is cut.

        Args:
            answered: cut when the database has committed and answers; else as soon as the request was passed on.
            timeout_s: how long to wait for a commit; fails with TimeoutError.
        """
        cut = self._next = _Cut(answered=answered)
        await asyncio.wait_for(cut.done.wait(), timeout_s)

    async def _relay(
        self,
        client: asyncio.StreamReader,
        client_writer: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> None:
        self.open_connections += 1
        connection = _Connection(client_writer, upstream_writer)
        try:
            await self._pass_until_one_ends(
                asyncio.create_task(self._pass_requests(client, connection)),
                asyncio.create_task(connection.pass_answers(upstream)),
            )
        finally:
            self.open_connections -= 1
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
