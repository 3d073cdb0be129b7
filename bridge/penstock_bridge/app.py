"""The bridge: a running HTTP listener in front of a gRPC channel."""

from collections.abc import Iterator, Sequence
from socket import socket

import grpc

from penstock_bridge.calls import RpcEndpoint
from penstock_bridge.config import BridgeConfig
from penstock_bridge.dispatch import Dispatcher, Endpoint
from penstock_bridge.docs import assets, page
from penstock_bridge.document import Document
from penstock_bridge.listener import Listener
from penstock_bridge.methods import contract_methods, descriptor_set
from penstock_bridge.openapi import OpenApi
from penstock_bridge.probes import ALIVE_PATH, READY_PATH, Ready, alive
from penstock_bridge.templates import parse
from penstock_bridge.transcoder import routes


class Bridge:
    """Serves the contract over HTTP, by calls over a channel.

    Args:
        channel: where the server is: `upstream.connect(...)`, or any channel with the interface of grpc.aio's. It
            stays its owner's to close.
        config: the settings.

    Raises:
        ValueError: the contract's HTTP mappings are not valid.
    """

    def __init__(self, channel: grpc.aio.Channel, config: BridgeConfig) -> None:
        contract = descriptor_set()
        found = routes(contract_methods(contract))
        self._dispatcher = Dispatcher(config)
        for route in found:
            method = route.binding.http_method
            endpoint = RpcEndpoint(channel, route, config)
            head = method == "GET" and not route.binding.method.streams
            self._dispatcher.add(method, route.binding.template, endpoint, head=head)
        openapi = OpenApi(found, contract, config.prefix)
        for path, local in _local(channel, openapi, config):
            self._dispatcher.add("GET", parse(path), local, head=True)
        self._listener = Listener(self._dispatcher, config)

    async def start(self, sockets: Sequence[socket] = ()) -> None:
        """Listens.

        Args:
            sockets: bound ones to listen on, which other processes may share; none to bind the address of the config.

        Raises:
            OSError: the address is in use, or none of this machine's.
        """
        await self._listener.start(sockets)

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port that it listens on."""
        return self._listener.address

    async def drain(self) -> None:
        """Takes no new connection or request, and returns when those under way have been answered.

        Open connections get 503 with `Retry-After` for further requests. Put a timeout around it; `stop` ends the rest.
        """
        await self._listener.refuse_connections()
        await self._dispatcher.drain()

    async def stop(self) -> None:
        """Ends every call that is under way, and closes."""
        await self._listener.refuse_connections()
        await self._dispatcher.stop()
        await self._listener.stop()


def _local(channel: grpc.aio.Channel, openapi: OpenApi, config: BridgeConfig) -> Iterator[tuple[str, Endpoint]]:
    """What the bridge answers itself."""
    yield ALIVE_PATH, alive
    yield READY_PATH, Ready(channel, config.ready_timeout_s)
    yield "/openapi.json", Document(channel, openapi, config)
    yield "/docs", page
    for name, asset in assets():
        yield f"/docs/{name}", asset
