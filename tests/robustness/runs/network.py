"""A network that can be cut and slowed: a TCP proxy."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

CHUNK_BYTES = 16_384


class Network:
    """Passes on what it gets, both ways, on a port of its own while its block lasts.

    Args:
        port: where it leads to, on this machine.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.delay_s = 0.0
        """How long each piece takes, either way."""
        self.is_cut = False
        """Whether new connections are refused."""
        self._upstream_port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def cut(self) -> int:
        """Breaks every connection, as a reset does; returns how many halves there were."""
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.transport.abort()
        return len(writers)

    async def _connected(self, client: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            client_writer.transport.abort()
            return
        try:
            upstream, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            client_writer.transport.abort()
            return
        both = {client_writer, upstream_writer}
        self._writers |= both
        pipes = {
            asyncio.create_task(self._pass_on(client, upstream_writer)),
            asyncio.create_task(self._pass_on(upstream, client_writer)),
        }
        self._pipes |= pipes
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            self._pipes -= pipes
            self._writers -= both
            for writer in both:
                writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
