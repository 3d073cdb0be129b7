"""What flows call while they are at work: it notices when their connections are closed."""

import asyncio
import time
from math import inf
from types import TracebackType
from typing import Self


class Upstream:
    """Listens on a port of its own while its block lasts. A flow says the id of its run, and then nothing more."""

    def __init__(self) -> None:
        self.port = 0
        self.closed_s: dict[str, float] = {}
        """When the connection of each run was closed, by the monotonic clock; infinite while it is open."""
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        run = ""
        try:
            run = (await reader.readline()).decode().strip()
            self.closed_s[run] = inf
            await reader.read()
        except ConnectionError:
            pass
        finally:
            self.closed_s[run] = time.monotonic()
            self._open.discard(writer)
            writer.transport.abort()
