"""A request as the bridge's parts see it."""

import asyncio

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from penstock_bridge.config import BridgeConfig
from penstock_bridge.errors import Header


class Request(web.BaseRequest):
    """An HTTP request, with its target as it was sent.

    Attributes:
        config: the limits that it is held to.
        path_raw: the path, escapes and all.
        query_raw: the query string, escapes and all; empty where there is none.
        extra_headers: headers that every answer to it carries.
    """

    ATTRS = web.BaseRequest.ATTRS | frozenset({"config", "path_raw", "query_raw", "extra_headers"})

    def __init__(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
        loop: asyncio.AbstractEventLoop,
        config: BridgeConfig,
    ) -> None:
        super().__init__(message, payload, protocol, writer, task, loop)
        self.config = config
        self.path_raw, _, self.query_raw = _origin_form(message.path).partition("?")
        self.extra_headers: list[Header] = []


def _origin_form(target: str) -> str:
    """The path and query of a target; a proxy's client sends `http://host/path` (RFC 9112 §3.2.2)."""
    if target.startswith("/"):
        return target
    _, separator, rest = target.partition("://")
    if not separator:
        return target
    _, slash, path = rest.partition("/")
    return slash + path if slash else "/"
