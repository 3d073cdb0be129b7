"""The methods that a server offers: registered once, guarded, and then served over sockets and in process alike."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pool

from penstock.v1 import options_pb2
from penstock_server.interceptors import Guard, Handler

HEALTH_SERVICE = "grpc.health.v1.Health"
REFLECTION_SERVICE = "grpc.reflection.v1alpha.ServerReflection"
OPEN_SERVICES = frozenset({HEALTH_SERVICE, REFLECTION_SERVICE})
"""Services that answer without a token: probes and tools ask them before anybody has logged in."""


class Methods(Mapping[str, Handler]):
    """Guarded handlers by method path. It takes registrations as a `grpc.Server` does.

    Args:
        guard: wraps each handler.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._handlers: dict[str, Handler] = {}
        self.services: list[str] = []
        """The full names of the registered services."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """What generated `add_…Servicer_to_server` functions call."""
        self.services.append(service)
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            self._handlers[method] = self._guard.handler(method, handler)

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Generated functions register every method this way as well; the other way is enough for us."""

    def __getitem__(self, method: str) -> Handler:
        return self._handlers[method]

    def __iter__(self) -> Iterator[str]:
        return iter(self._handlers)

    def __len__(self) -> int:
        return len(self._handlers)


def open_methods() -> frozenset[str]:
    """The methods of probes and tools, which need no token and answer while the server stops."""
    pool = descriptor_pool.Default()
    return frozenset(
        f"/{service}/{method.name}" for service in OPEN_SERVICES for method in pool.FindServiceByName(service).methods
    )


def schema_methods() -> frozenset[str]:
    """The methods that tell how flows are called and nothing about their use (`penstock.v1.public_schema`)."""
    service = descriptor_pool.Default().FindServiceByName("penstock.v1.FlowService")
    return frozenset(
        f"/{service.full_name}/{method.name}"
        for method in service.methods
        if method.GetOptions().Extensions[options_pb2.public_schema]
    )
