"""The server's side of a call in process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn, Protocol

import grpc
from google.protobuf.message import Message
from grpc.aio import EOF as EOF

DoneCallback = Callable[[Any], None]

PEER = "unix:inprocess"
"""Looks like a socket's address, because instrumentation takes it apart."""


class Metadatum(NamedTuple):
    """One entry of metadata: a pair, with the names by which instrumentation asks."""

    key: str
    value: str | bytes


Metadata = tuple[tuple[str, str | bytes], ...]


class CallDetails(grpc.HandlerCallDetails):
    """What is known of a call before its request is."""

    def __init__(self, method: str, metadata: Metadata, loop: asyncio.AbstractEventLoop) -> None:
        self.method = method
        self.loop = loop
        self.invocation_metadata = metadata


class Outcome(NamedTuple):
    """How a call ended."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: Metadata = ()


class Writer(Protocol):
    """Where a handler's messages go."""

    def __call__(self, message: Message) -> Awaitable[None]:
        """Hands a message to the reader; returns once the reader has asked for it."""


class CallContext(grpc.aio.ServicerContext[Any, Any]):
    """What a handler knows of its call, and what it says about it: a `grpc.aio.ServicerContext`."""

    def __init__(self, request: object, details: CallDetails, deadline_s: float | None, write: Writer) -> None:
        self._request: object = request
        self._metadata = details.invocation_metadata
        self._deadline_s = deadline_s
        self._write = write
        self._loop = details.loop
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing: Metadata = ()
        self._callbacks: list[DoneCallback] = []
        self.initial_metadata: Metadata = ()
        self.headers_sent = asyncio.Event()
        self.ended: Outcome | None = None

    def outcome(self) -> Outcome:
        """What the handler has said so far; OK where it has said nothing."""
        return Outcome(self._code or grpc.StatusCode.OK, self._details, self._trailing)

    def end(self, outcome: Outcome) -> None:
        """The call is over; tells whoever asked to be told."""
        self.ended = outcome
        self.headers_sent.set()
        for callback in self._callbacks:
            callback(self)
        self._callbacks.clear()

    async def read(self) -> Any:
        """The request, once; then the end."""
        request, self._request = self._request, EOF
        return request

    async def write(self, message: Any) -> None:
        """Hands a message to the reader."""
        await self._write(message)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Lets the caller see the initial metadata, before any message."""
        if self.headers_sent.is_set():
            raise grpc.aio.UsageError("the initial metadata was sent already")
        self.initial_metadata = as_metadata(initial_metadata)
        self.headers_sent.set()

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """Ends the call with a status that is not OK."""
        if code is grpc.StatusCode.OK:
            raise grpc.aio.UsageError("a call cannot be aborted with the status OK")
        self._code, self._details = code, details
        self._trailing = as_metadata(trailing_metadata) or self._trailing
        raise grpc.aio.AbortError("the call was aborted by its handler")

    async def abort_with_status(self, status: Any) -> NoReturn:
        """Ends the call with a `grpc.Status`."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """What goes out with the status."""
        self._trailing = as_metadata(trailing_metadata)

    def invocation_metadata(self) -> Any:
        """What the caller sent."""
        return self._metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status to end with."""
        self._code = code

    def set_details(self, details: str) -> None:
        """The text of the status to end with."""
        self._details = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Nothing is compressed in process."""

    def disable_next_message_compression(self) -> None:
        """Nothing is compressed in process."""

    def peer(self) -> str:
        """An address that stands for this process."""
        return PEER

    def peer_identities(self) -> Iterable[bytes] | None:
        """There is no transport that could prove an identity."""
        return None

    def peer_identity_key(self) -> str | None:
        """There is no transport that could prove an identity."""
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """There is no transport that could prove an identity."""
        return {}

    def time_remaining(self) -> float:
        """Seconds until the deadline; None where there is none, as grpc.aio has it."""
        if self._deadline_s is None:
            return None  # type: ignore[return-value]
        return max(0.0, self._deadline_s - self._loop.time())

    def trailing_metadata(self) -> Any:
        """What was set to go out with the status."""
        return self._trailing

    def code(self) -> grpc.StatusCode:
        """The status as it was set so far."""
        return self._code  # type: ignore[return-value]

    def details(self) -> str:
        """The text as it was set so far."""
        return self._details

    def add_done_callback(self, callback: DoneCallback) -> None:
        """Calls back when the call is over."""
        if self.ended is not None:
            self._loop.call_soon(callback, self)
        else:
            self._callbacks.append(callback)

    def cancelled(self) -> bool:
        """Whether the caller cancelled the call."""
        return self.ended is not None and self.ended.code is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        """Whether the call is over."""
        return self.ended is not None


def as_metadata(pairs: Any) -> Metadata:
    """Any of the forms in which grpc.aio takes metadata, as pairs."""
    return tuple(pairs) if pairs else ()


def named(metadata: Metadata) -> Metadata:
    """The pairs with names, for instrumentation."""
    return tuple(Metadatum(key, value) for key, value in metadata)
