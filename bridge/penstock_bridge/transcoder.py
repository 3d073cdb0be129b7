"""The routes of the contract: every RPC with `google.api.http`, on every path that it names."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from penstock_bridge.binding import Binding, InvalidBinding, bindings
from penstock_bridge.cursor import check_cursor
from penstock_bridge.deferral import Deferral, deferral
from penstock_bridge.methods import Method
from penstock_bridge.router import Router


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One HTTP mapping, and the stream that also answers it."""

    binding: Binding
    stream: Method | None
    """The method that answers where the caller prefers a stream; None where there is none."""
    deferral: Deferral | None
    """How it is answered before the work is done; None where it is not."""

    @property
    def streamed(self) -> Method | None:
        """The method whose stream it answers with; None where it never streams."""
        return self.binding.method if self.binding.method.streams else self.stream


def routes(methods: Iterable[Method]) -> list[Route]:
    """The routes of these methods, in the order of the contract.

    Raises:
        ValueError: a mapping or an option is not valid, or two mappings conflict.
    """
    methods = list(methods)
    found = list(_routes(methods))
    check: Router[Route] = Router()
    for route in found:
        check.add(route.binding.http_method, route.binding.template, route)
    return found


def _routes(methods: list[Method]) -> Iterator[Route]:
    streams = _negotiated(methods)
    by_path = {method.path: method for method in methods}
    for method in methods:
        check_cursor(method)
        deferred = deferral(method, by_path)
        for binding in bindings(method):
            yield Route(binding=binding, stream=streams.get(method.path), deferral=deferred)


def _negotiated(methods: list[Method]) -> dict[str, Method]:
    """The streaming methods by the path of the unary method whose HTTP paths they also answer."""
    unary = {method.path: method for method in methods if not method.streams}
    streams: dict[str, Method] = {}
    for method in methods:
        if not method.negotiates:
            continue
        path = f"/{method.descriptor.containing_service.full_name}/{method.negotiates}"
        other = unary.get(path)
        if other is None or not method.streams or other.input is not method.input or path in streams:
            raise InvalidBinding(f"{method.path} cannot negotiate for {method.negotiates}")
        streams[path] = method
    return streams
