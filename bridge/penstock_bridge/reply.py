"""Answers, written to the connection in one piece.

aiohttp's own Response costs a fifth of a small call in headers and checks that a bridge does not need.
"""

import time
from asyncio import timeout
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from penstock_bridge.errors import Header, Problem
from penstock_bridge.request import Request

JSON_TYPE = ("Content-Type", "application/json")

WRITE_MARGIN_S = 2.0
"""By how much the bridge is more patient than the server, where both have the same limit: the server notices a stalled
reader, too, and ends a run that has nobody else to go on for. To it, a reader that the bridge drops has merely left."""
PIECE_BYTES = 64 * 1024
"""How much is handed to a connection at once where there is more: what a client takes is seen from piece to piece."""
_COPY_BYTES_MAX = PIECE_BYTES
"""A body up to this size is copied behind its head, so that both leave in one packet."""

_NO_CONTENT = 204
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}


class Answer(web.StreamResponse):
    """What a handler returns to aiohttp: something that has been written, or writes itself."""

    def __init__(self, *, close: bool = False) -> None:
        # The base class's state is for its own way of writing, which is not used.
        self._keep_alive = not close
        self._written = True

    @property
    def keep_alive(self) -> bool:
        """Whether the connection takes another request."""
        return bool(self._keep_alive)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Writes the answer, once."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Everything has been written by `prepare`."""


class Reply(Answer):
    """A complete answer.

    Args:
        status: the HTTP status.
        body: the body; a HEAD request gets its length alone.
        headers: all headers but those of the connection and the length.
        close: end the connection afterwards.
    """

    def __init__(
        self, status: int, body: bytes, headers: Iterable[Header] = (JSON_TYPE,), *, close: bool = False
    ) -> None:
        super().__init__(close=close)
        self.code = status
        self.content = body
        self.fields = headers

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Writes the answer.

        Raises:
            ConnectionError: the client left, or took nothing for the connection's `write_timeout_s`.
        """
        assert isinstance(request, Request)  # noqa: S101 — the listener makes no other
        keep_alive = self._keep_alive = bool(self._keep_alive and request.keep_alive)
        length = [] if self.code == _NO_CONTENT else [("Content-Length", str(len(self.content)))]
        head = head_bytes(request, self.code, [*self.fields, *length], keep_alive=keep_alive)
        body = b"" if request.method == "HEAD" else self.content
        if len(body) <= _COPY_BYTES_MAX:
            write(request, head + body)
        else:
            write(request, head)
            await write_pieces(request, body)
        await drained(request)
        return None


def problem_reply(problem: Problem, *, close: bool = False) -> Reply:
    """A failure as an answer."""
    return Reply(problem.http, problem.body(), [JSON_TYPE, *problem.headers], close=close)


def head_bytes(request: Request, status: int, headers: Iterable[Header], *, keep_alive: bool) -> bytes:
    """The status line and the headers of an answer (RFC 9112)."""
    lines = [_status_line(status), *[f"{name}: {value}" for name, value in headers]]
    if request.extra_headers:
        lines += [f"{name}: {value}" for name, value in request.extra_headers]
    if not keep_alive:
        lines.append("Connection: close")
    elif request.version < (1, 1):
        lines.append("Connection: keep-alive")
    lines.append(_date_line(int(time.time())))
    return "\r\n".join(lines).encode("latin-1")


def write(request: Request, data: bytes | memoryview) -> None:
    """Hands bytes to the connection.

    Raises:
        ConnectionResetError: the client has left.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has left")
    transport.write(data)


async def write_pieces(request: Request, data: bytes) -> None:
    """Hands many bytes to the connection, each piece once it has taken those before.

    So a client may take as long as it needs for all of them, and no longer than `write_timeout_s` for a piece.

    Raises:
        ConnectionError: the client left, or took nothing for `write_timeout_s`.
    """
    view = memoryview(data)
    for start in range(0, len(view), PIECE_BYTES):
        write(request, view[start : start + PIECE_BYTES])
        await drained(request)


async def drained(request: Request) -> None:
    """Waits until the connection takes more.

    Raises:
        ConnectionError: the client left, or took nothing for `write_timeout_s`; the connection is gone.
    """
    if not request.protocol.writing_paused:
        return
    try:
        async with timeout(request.config.write_timeout_s + WRITE_MARGIN_S):
            await request.writer.drain()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client takes nothing") from None


@lru_cache(maxsize=64)
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {_REASONS.get(status, '')}"


@lru_cache(maxsize=2)
def _date_line(second: int) -> str:
    return f"X-Content-Type-Options: nosniff\r\nDate: {formatdate(second, usegmt=True)}\r\n\r\n"
