"""What flows call while they are at work: it notices when their connections are closed."""

import asyncio
import time
from math import inf

from tests.robustness.listener import Listener


class Upstream(Listener):
    """What a flow connects to. It says the id of its run, and then nothing more."""

    def __init__(self) -> None:
        super().__init__()
        self.closed_s: dict[str, float] = {}
        """When the connection of each run was closed, by the monotonic clock; infinite while it is open."""
        self._open: set[asyncio.StreamWriter] = set()

    async def _end(self) -> None:
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
