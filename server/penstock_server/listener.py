"""Takes gRPC calls from an address, by several servers of `grpc.aio` that share it.

Such a server asks for its next call when the event loop has taken the last one. With a single server each call costs a
round between the loop and gRPC's thread, however many are waiting; several take a call each in one round, which saves a
third of the processor time of a call (docs/performance.md). A connection belongs to one of them.
"""

import asyncio
import sys
from collections.abc import Sequence

import grpc

from penstock.address import UNIX_SCHEME
from penstock_server.config import ServerConfig
from penstock_server.ports import HeldPort, somebody_answers

SERVERS = 8
"""How many servers share a port. A listening socket is all that one costs; 16 do no better for 8 connections."""

WIRE_BYTES_FACTOR = 4
"""gRPC itself refuses messages over this many times `message_bytes_max`, with a text of its own; what lies between gets
our clear error."""


class CannotListen(Exception):
    """The address cannot be listened on; the message says what to do."""


class Listener:
    """Listens for calls from `start` to `stop`.

    Args:
        door: finds the guarded handler of a call.
        interceptors: what a call passes before its handler, outermost first.
        share_port: whether other processes of this user listen on the port as well, which somebody holds for all of
            them.
    """

    def __init__(
        self,
        config: ServerConfig,
        door: grpc.GenericRpcHandler,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        *,
        share_port: bool,
    ) -> None:
        self._config = config
        self._door = door
        self._interceptors = interceptors
        self._share_port = share_port
        self._held: HeldPort | None = None
        self._servers: list[grpc.aio.Server] = []
        self.address = config.grpc
        """Where it listens, with the port that it was given; known after `start`."""

    async def start(self) -> None:
        """Begins to listen.

        Raises:
            CannotListen: the address is in use, or none of this machine's.
        """
        # Elsewhere the system does not spread connections over those who share a port.
        spreads = sys.platform == "linux" and not self.address.startswith(UNIX_SCHEME)
        if spreads and not self._share_port:
            try:
                self._held = HeldPort(self.address)
            except (OSError, UnicodeError):
                raise CannotListen(cannot_listen(self.address)) from None
            self.address = self._held.address
        if self.address.startswith(UNIX_SCHEME) and somebody_answers(self.address):
            raise CannotListen(cannot_listen(self.address))  # gRPC would take the path away from them
        for _ in range(SERVERS if spreads else 1):
            self._servers.append(self._server(shared=spreads or self._share_port))
        for server in self._servers:
            await server.start()

    async def stop(self, grace_s: float) -> None:
        """Takes no more calls, and closes every connection once its calls have ended, or after `grace_s` seconds."""
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))
        if self._held is not None:
            self._held.close()

    def _server(self, *, shared: bool) -> grpc.aio.Server:
        config = self._config
        server = grpc.aio.server(
            interceptors=self._interceptors,
            maximum_concurrent_rpcs=config.calls_max,
            options=(
                ("grpc.so_reuseport", int(shared)),  # gRPC's default lets any second server share it unnoticed
                ("grpc.max_receive_message_length", WIRE_BYTES_FACTOR * config.message_bytes_max),
                ("grpc.max_metadata_size", config.metadata_bytes_max),
                ("grpc.max_concurrent_streams", config.calls_max),
                ("grpc.max_connection_idle_ms", int(config.connection_idle_s * 1000)),
            ),
        )
        server.add_generic_rpc_handlers((self._door,))
        try:
            port = server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise CannotListen(cannot_listen(self.address)) from error
        if not self.address.startswith(UNIX_SCHEME):
            self.address = f"{self.address.rpartition(':')[0]}:{port}"
        return server


def cannot_listen(address: str) -> str:
    """Why there is no server on an address, and what to do."""
    return (
        f"cannot listen on {address} for gRPC: is another server running there, or is the address not this machine's? "
        "Choose another with --grpc HOST:PORT (port 0 takes a free one)"
    )
