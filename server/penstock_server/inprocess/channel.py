"""A `grpc.aio.Channel` to the methods of a server in the same process.

It keeps the wire's rules, so that nothing works here and fails over a socket: the sizes of messages and of metadata,
the form of metadata, deadlines, cancellation, interceptors.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any

import grpc
from google.protobuf.message import Message

from penstock_server.errors import InvalidRequest
from penstock_server.inprocess.call import Behaviour, InProcessCall, StreamCall, UnaryCall
from penstock_server.inprocess.context import CallDetails, Metadata, Outcome, as_metadata, named
from penstock_server.interceptors import Refused, too_large

METADATA_KEY_FORM = re.compile(r"[0-9a-z_.-]+")
CHANNEL_CLOSED = Outcome(grpc.StatusCode.UNAVAILABLE, "the server has stopped")
KNOWN_KEYS_MAX = 256
"""How many names of metadata entries are remembered as checked."""
METADATA_ENTRY_OVERHEAD_BYTES = 32
"""What HTTP/2 adds to the size of an entry (RFC 9113, section 6.5.2)."""


class InProcessChannel(grpc.aio.Channel):
    """Calls a server's methods.

    Args:
        door: finds the guarded handler of a call.
        interceptors: what a call passes before its handler, outermost first.
    """

    def __init__(
        self,
        door: grpc.GenericRpcHandler,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        message_bytes_max: int,
        metadata_bytes_max: int,
    ) -> None:
        self._door = door
        self._live: set[InProcessCall] = set()
        # Asked for once: CPython 3.11 makes a system call of it each time.
        self._loop = asyncio.get_running_loop()
        self._interceptors = tuple(interceptors)
        self._message_bytes_max = message_bytes_max
        self._metadata_bytes_max = metadata_bytes_max

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A callable for a unary method; takes what `grpc.aio.Channel.unary_unary` takes."""
        return self._callable(UnaryCall, method, "unary_unary")

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A callable for a server-streaming method; takes what `grpc.aio.Channel.unary_stream` takes."""
        return self._callable(StreamCall, method, "unary_stream")

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Refused: no method of the contract takes a stream."""
        raise TypeError(f"{method} takes a stream, which the in-process channel does not carry")

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Refused: no method of the contract takes a stream."""
        raise TypeError(f"{method} takes a stream, which the in-process channel does not carry")

    async def __aenter__(self) -> InProcessChannel:
        """The channel itself; there is nothing to open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the channel."""
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Lets live calls end for `grace` seconds, and breaks off those that do not."""
        if self._live and grace:
            await asyncio.wait([asyncio.ensure_future(call.ended()) for call in self._live], timeout=grace)
        for call in list(self._live):
            call.break_off(CHANNEL_CLOSED)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Always ready."""
        return grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns at once where the state differs from READY, which it never leaves."""
        if last_observed_state is grpc.ChannelConnectivity.READY:
            raise grpc.aio.UsageError("the in-process channel is always ready")

    async def channel_ready(self) -> None:
        """Returns at once."""

    def _callable(self, call: Callable[..., Any], method: str, kind: str) -> Callable[..., Any]:
        loop = self._loop

        def start(
            request: Any, *, timeout: float | None = None, metadata: Any = None, **_: object
        ) -> UnaryCall | StreamCall:
            sent = as_metadata(metadata)
            details = CallDetails(method, named(sent) if self._interceptors else sent, loop)
            find = self._intercepted(details, kind) if self._interceptors else self._behaviour(details, kind)
            checked = self._checked(request, details.invocation_metadata)
            return call(find, checked, details, timeout, self._live)  # type: ignore[no-any-return]

        return start

    def _behaviour(self, details: CallDetails, kind: str) -> Behaviour:
        """The handler's behaviour. The door is asked when the call's own task calls it."""

        def enter(request: Any, context: Any) -> Any:
            behaviour = getattr(self._door.service(details), kind, None) or _unimplemented(details.method)
            return behaviour(request, context)

        return enter

    def _intercepted(self, details: CallDetails, kind: str) -> Behaviour:
        """The behaviour as the interceptors return it; they are asynchronous."""

        async def find() -> Behaviour:
            handler = await self._continuation(0)(details)
            return getattr(handler, kind, None) or _unimplemented(details.method)

        async def unary(request: Any, context: Any) -> Any:
            return await (await find())(request, context)

        async def stream(request: Any, context: Any) -> Any:
            responses = (await find())(request, context)
            if isinstance(responses, Coroutine):
                await responses
                return
            async with aclosing(responses):
                async for response in responses:
                    yield response

        return unary if kind == "unary_unary" else stream

    def _continuation(self, index: int) -> Callable[[Any], Any]:
        async def proceed(details: Any) -> Any:
            if index < len(self._interceptors):
                return await self._interceptors[index].intercept_service(self._continuation(index + 1), details)
            return self._door.service(details)

        return proceed

    def _checked(self, request: Message, metadata: Metadata) -> Message | Refused:
        size_bytes = request.ByteSize()
        if size_bytes > self._message_bytes_max:
            return Refused(too_large(size_bytes, self._message_bytes_max))
        violation = self._metadata_violation(metadata)
        return Refused(InvalidRequest.of([violation])) if violation else request

    def _metadata_violation(self, metadata: Metadata) -> tuple[str, str] | None:
        size_bytes = 0
        for key, value in metadata:
            size_bytes += len(key) + len(value) + METADATA_ENTRY_OVERHEAD_BYTES
            if not _is_metadata_key(key):
                return ascii(key), "is not the name of a metadata entry (lower case, digits, `-`, `_`, `.`)"
            if isinstance(value, str) and not (value.isascii() and value.isprintable()):
                return key, "holds characters that are not printable ASCII"
        if size_bytes > self._metadata_bytes_max:
            return "metadata", f"has {size_bytes} bytes; at most {self._metadata_bytes_max} are taken"
        return None


@lru_cache(maxsize=KNOWN_KEYS_MAX)
def _is_metadata_key(key: str) -> bool:
    return METADATA_KEY_FORM.fullmatch(key) is not None


def _unimplemented(method: str) -> Behaviour:
    async def refuse(_: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"there is no method {method}")

    return refuse
