"""A TCP line between a client and a server that a test can cut."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

WAIT_S = 20.0


class Line:
    """A TCP line to a server that can be cut; it lives in a thread of its own."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Cuts what is connected; it may connect again."""
        self._loop.call_soon_threadsafe(self._abort)

    def close(self) -> None:
        """Cuts what is connected, for ever."""
        self._loop.call_soon_threadsafe(self._server.close)
        self.cut()

    def end(self) -> None:
        """Ends the thread."""
        self.close()
        self._do(asyncio.sleep(0.1))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target.split(":")
        upstream, upstream_writer = await asyncio.open_connection(host, int(port))
        both = {writer, upstream_writer}
        self._writers |= both
        await asyncio.gather(_pass(reader, upstream_writer), _pass(upstream, writer))
        self._writers -= both


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
