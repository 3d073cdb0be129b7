"""What listens on a port of its own while its block lasts."""

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Listener(ABC):
    """A TCP server on a free port of this machine."""

    def __init__(self) -> None:
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._end()

    @abstractmethod
    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves a connection."""

    @abstractmethod
    async def _end(self) -> None:
        """Ends the connections; nobody can make new ones."""


class Relay(Listener):
    """A proxy: passes on what it gets, both ways.

    Args:
        port: where it leads to, on this machine.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self._upstream_port = port
        self._pipes: set[asyncio.Task[None]] = set()

    async def _end(self) -> None:
        pipes = list(self._pipes)
        for pipe in pipes:
            pipe.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)

    async def _connected(self, client: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        try:
            upstream, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            client_writer.transport.abort()
            return
        await self._relay(client, client_writer, upstream, upstream_writer)

    @abstractmethod
    async def _relay(
        self,
        client: asyncio.StreamReader,
        client_writer: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> None:
        """Passes on what either side says, and closes both in the end."""

    async def _pass_until_one_ends(self, *pipes: "asyncio.Task[None]") -> None:
        """Waits until one direction has ended, and ends the other."""
        self._pipes |= set(pipes)
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            self._pipes -= set(pipes)
