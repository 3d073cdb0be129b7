"""Where a stream's bytes leave: framing, pings, and a bound on what a slow client may make us hold."""

import asyncio
import socket
from collections.abc import Iterable

from penstock_bridge.errors import Header
from penstock_bridge.reply import PIECE_BYTES, Answer, drained, head_bytes, write, write_pieces
from penstock_bridge.request import Request

_LAST_CHUNK = b"0\r\n\r\n"


class Outlet:
    """An answer of unknown length: chunked, or up to the end of the connection for HTTP/1.0.

    Args:
        request: what is answered.
        ping: what is sent into a silence; empty for nothing.
        ping_interval_s: how long the silence lasts before.
    """

    def __init__(self, request: Request, *, ping: bytes, ping_interval_s: float) -> None:
        self._request = request
        self._chunked = request.version >= (1, 1)
        self._keep_alive = request.keep_alive and self._chunked
        self._ping = self._framed(ping) if ping else b""
        self._ping_interval_s = ping_interval_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._written_at = 0.0

    def start(self, headers: Iterable[Header]) -> None:
        """Sends the status line and the headers; the status is 200.

        Raises:
            ConnectionError: the client has left.
        """
        self._bound_kernel_buffer()
        framing = [("Transfer-Encoding", "chunked")] if self._chunked else []
        write(self._request, head_bytes(self._request, 200, [*headers, *framing], keep_alive=self._keep_alive))
        self._written_at = self._loop.time()
        if self._ping:
            self._timer = self._loop.call_later(self._ping_interval_s, self._tick)

    async def send(self, data: bytes) -> None:
        """Sends bytes at once, and waits while the client is behind.

        Raises:
            ConnectionError: the client left, or took nothing for `write_timeout_s`.
        """
        if not data:
            return
        framed = self._framed(data)
        if len(framed) > PIECE_BYTES:
            await write_pieces(self._request, framed)
        else:
            write(self._request, framed)
        self._written_at = self._loop.time()
        if self._request.protocol.writing_paused:
            await drained(self._request)

    async def finish(self, data: bytes) -> Answer:
        """Sends the last bytes and ends the answer. Raises like `send`."""
        self.close()
        write(self._request, self._framed(data) + (_LAST_CHUNK if self._chunked else b""))
        await drained(self._request)
        return Answer(close=not self._keep_alive)

    async def cut(self, data: bytes) -> Answer:
        """Sends bytes and closes the connection as if it had broken. Raises like `send`."""
        self.close()
        write(self._request, self._framed(data) if data else b"")
        await drained(self._request)
        return Answer(close=True)

    def close(self) -> None:
        """Lets go of the timer; every stream that was started ends with this."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _tick(self) -> None:
        silence_s = self._loop.time() - self._written_at
        if self._request.protocol.writing_paused:
            silence_s = 0.0  # what was written is still on its way
        elif silence_s >= self._ping_interval_s:
            transport = self._request.transport
            if transport is None or transport.is_closing():
                return
            transport.write(self._ping)
            self._written_at, silence_s = self._loop.time(), 0.0
        self._timer = self._loop.call_later(max(self._ping_interval_s - silence_s, _TICK_S_MIN), self._tick)

    def _bound_kernel_buffer(self) -> None:
        """The kernel would otherwise take megabytes for a client that reads nothing."""
        transport = self._request.transport
        connection = None if transport is None else transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._request.config.send_buffer_bytes)


_TICK_S_MIN = 0.05
