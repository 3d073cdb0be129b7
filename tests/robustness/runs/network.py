"""A network that can be cut and slowed: a TCP proxy."""

import asyncio
import contextlib

from tests.robustness.listener import Relay

CHUNK_BYTES = 16_384


class Network(Relay):
    """A proxy whose connections can be cut and slowed."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.delay_s = 0.0
        """How long each piece takes, either way."""
        self.is_cut = False
        """Whether new connections are refused."""
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> int:
        """Breaks every connection, as a reset does; returns how many halves there were."""
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.transport.abort()
        return len(writers)

    async def _end(self) -> None:
        self.cut()
        await super()._end()

    async def _connected(self, client: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            client_writer.transport.abort()
        else:
            await super()._connected(client, client_writer)

    async def _relay(
        self,
        client: asyncio.StreamReader,
        client_writer: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> None:
        both = {client_writer, upstream_writer}
        self._writers |= both
        try:
            await self._pass_until_one_ends(
                asyncio.create_task(self._pass_on(client, upstream_writer)),
                asyncio.create_task(self._pass_on(upstream, client_writer)),
            )
        finally:
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
