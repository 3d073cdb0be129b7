"""The HTTP/1.1 listener: aiohttp's connections, with our limits and our error bodies."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from socket import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage

from penstock_bridge.config import BridgeConfig
from penstock_bridge.errors import defect, headers_too_large, invalid_request
from penstock_bridge.reply import Answer, problem_reply
from penstock_bridge.request import Request

Handler = Callable[[Request], Awaitable[Answer]]

_CLOSE_S = 0.1
"""How long aiohttp waits for handlers at the end; by then ours have been ended."""


class Listener:
    """Accepts connections and hands their requests to a handler."""

    def __init__(self, handler: Handler, config: BridgeConfig) -> None:
        self._handler = handler
        self._config = config
        self._runner: web.ServerRunner | None = None
        self._sites: list[web.BaseSite] = []
        self._address: tuple[str, int] | None = None

    async def start(self, sockets: Sequence[socket] = ()) -> None:
        """Listens.

        Args:
            sockets: bound ones to listen on; none to bind the address of the config.

        Raises:
            OSError: the address is in use, or none of this machine's.
        """
        self._runner = web.ServerRunner(_Server(self._handler, self._config), shutdown_timeout=_CLOSE_S)
        await self._runner.setup()
        for site in self._made_sites(self._runner, sockets):
            self._sites.append(site)
            await site.start()
        host, bound = self._runner.addresses[0][:2]
        self._address = (str(host), int(bound))

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that it listens on, or did."""
        if self._address is None:
            raise RuntimeError("the listener has not started")
        return self._address

    async def refuse_connections(self) -> None:
        """Takes no new connection; those that are open stay."""
        while self._sites:
            await self._sites.pop().stop()

    async def stop(self) -> None:
        """Ends everything."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _made_sites(self, runner: web.ServerRunner, sockets: Sequence[socket]) -> Sequence[web.BaseSite]:
        if sockets:
            return [web.SockSite(runner, each) for each in sockets]
        host, _, port = self._config.http.rpartition(":")
        return [web.TCPSite(runner, host.strip("[]"), int(port), reuse_port=False)]


class _Server(web.Server):
    def __init__(self, handler: Handler, config: BridgeConfig) -> None:
        # A client that leaves cancels its handler, and with it the call to the server.
        super().__init__(handler, handler_cancellation=True, request_factory=self._request)  # type: ignore[arg-type]
        self._config = config
        self._running = asyncio.get_running_loop()

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._running, self._config)

    def _request(self, message: RawRequestMessage, payload: Any, protocol: Any, writer: Any, task: Any) -> Request:
        return Request(message, payload, protocol, writer, task, self._running, self._config)


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("_write_buffer_bytes",)

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, config: BridgeConfig) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=config.keepalive_timeout_s,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=config.header_bytes_max,
            max_field_size=config.header_bytes_max,
            max_headers=config.headers_max,
            lingering_time=config.linger_s,
            # A compressed body is refused; inflating it first would be the harm that a zip bomb means to do.
            auto_decompress=False,
        )
        self._write_buffer_bytes = config.write_buffer_bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bounds what may wait for the socket."""
        transport.set_write_buffer_limits(high=self._write_buffer_bytes)  # type: ignore[attr-defined]
        super().connection_made(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what aiohttp could not read, in the form of every other error."""
        if isinstance(exc, LineTooLong):
            return problem_reply(headers_too_large(), close=True)
        if status >= 500:
            return problem_reply(defect(exc or RuntimeError(message)), close=True)
        return problem_reply(invalid_request("The request is not valid HTTP/1.1"), close=True)
