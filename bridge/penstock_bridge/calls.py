"""An HTTP request that becomes an RPC, and its answer."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc.aio import EOF

from penstock.v1 import run_pb2
from penstock_bridge import metadata
from penstock_bridge.binding import response_encoder, whole_encoder
from penstock_bridge.body import read_body
from penstock_bridge.config import BridgeConfig
from penstock_bridge.cursor import resume
from penstock_bridge.deferral import LOCATION
from penstock_bridge.errors import Header, Problem, defect, unreachable
from penstock_bridge.events import Teller, entries_of, teller, view_field
from penstock_bridge.frames import FRAMES, NOTES, PING
from penstock_bridge.guard import Guard
from penstock_bridge.methods import Method
from penstock_bridge.negotiation import JSON, NDJSON, SSE, choose
from penstock_bridge.outlet import Outlet
from penstock_bridge.reply import JSON_TYPE, Answer, Reply
from penstock_bridge.request import Request
from penstock_bridge.rpc_errors import from_rpc
from penstock_bridge.transcoder import Route

STREAM_HEADERS: tuple[Header, ...] = (
    # `no-transform` keeps proxies from compressing, which would hold events back; nginx wants a header of its own.
    ("Cache-Control", "no-cache, no-transform"),
    ("X-Accel-Buffering", "no"),
)

CONTENT_TYPES: dict[str, Header] = {
    # An event stream is UTF-8 in any case, but clients that do not know it take text without a charset for Latin-1.
    SSE: ("Content-Type", f"{SSE}; charset=utf-8"),
    NDJSON: ("Content-Type", NDJSON),
}

Rpc = Callable[..., Any]
"""A call of grpc.aio, or of a channel that keeps its interface."""


class RpcEndpoint:
    """Answers the requests of one HTTP mapping.

    Args:
        channel: where the server is.
        route: the mapping, and all that answers it.
    """

    def __init__(self, channel: grpc.aio.Channel, route: Route, config: BridgeConfig) -> None:
        method = route.binding.method
        self._binding = route.binding
        self._config = config
        self._guard = Guard(config)
        self._encode = response_encoder(route.binding)
        self._encode_whole = whole_encoder(method.output)
        self._deferral = route.deferral
        self._streamed = route.streamed
        self._unary = None if method.streams else rpc(channel, method)
        self._stream = None if self._streamed is None else rpc(channel, self._streamed)
        self._offers = media_types(route)
        self._view = view_field(method.input)

    async def __call__(self, request: Request, segments: list[str]) -> Answer:
        """Answers a request whose path has these raw segments.

        Raises:
            Problem: the call failed before its answer began.
        """
        binding, config, headers = self._binding, self._config, request.headers
        self._guard.check(request, public=binding.method.public_schema)
        media_type = choose(_accept(request), self._offers)
        passed = metadata.request_metadata(headers, config.metadata_bytes_max)
        timeout_s = metadata.timeout_s(headers.get(metadata.TIMEOUT))
        body = await read_body(request, config, forms=binding.takes_form)
        message = binding.bind(segments, request.query_raw, body)
        if media_type == JSON and self._unary is not None:
            return await self._answer(self._unary, message, passed, timeout_s)
        return await self._answer_stream(request, message, passed, timeout_s, media_type)

    async def _answer(self, unary: Rpc, message: Message, passed: metadata.Metadata, timeout_s: float | None) -> Answer:
        deferral = self._deferral
        response, returned = await call(unary, message, passed, timeout_s)
        if deferral is not None and deferral.asked(message):
            # Some paths answer with what there is at the end alone; that is not there yet.
            location = (LOCATION, self._config.prefix + deferral.location(response))
            return Reply(202, self._encode_whole(response), [JSON_TYPE, location, *returned])
        return Reply(200, self._encode(response), [JSON_TYPE, *returned])

    async def _answer_stream(
        self, request: Request, message: Any, passed: metadata.Metadata, timeout_s: float | None, media_type: str
    ) -> Answer:
        assert self._streamed is not None  # noqa: S101 — a stream was offered
        assert self._stream is not None  # noqa: S101
        cursor = self._streamed.resumes_after
        after = resume(request, message, cursor) if cursor else 0
        simple = self._choose_view(message)
        told = teller(self._streamed.output, simple=simple, frame=FRAMES[media_type], after=after)
        outlet = Outlet(request, ping=PING[media_type], ping_interval_s=self._config.ping_interval_s)
        stream = _begin(self._stream, message, passed, timeout_s)
        try:
            returned, first = await _accepted(stream)
            outlet.start([CONTENT_TYPES[media_type], *STREAM_HEADERS, *returned])
            problem = await _relay(stream, first, told, outlet)
            if problem is not None and told.goes_on(problem):
                return await outlet.cut(NOTES[media_type](problem.status.message))
            return await outlet.finish(told.end(problem))
        finally:
            outlet.close()
            # Leaving a call does not end it.
            stream.cancel()

    def _choose_view(self, message: Any) -> bool:
        """Whether the simple stream is told: by the caller's word, otherwise by the path."""
        if self._view is None:
            return False
        if getattr(message, self._view) == run_pb2.RUN_VIEW_UNSPECIFIED:
            view = run_pb2.SIMPLE if self._binding.response_body else run_pb2.FULL
            setattr(message, self._view, view)
        return bool(getattr(message, self._view) == run_pb2.SIMPLE)


def rpc(channel: grpc.aio.Channel, method: Method) -> Rpc:
    """The callable of a method on a channel."""
    make: Any = channel.unary_stream if method.streams else channel.unary_unary
    callable_: Rpc = make(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )
    return callable_


def media_types(route: Route) -> tuple[str, ...]:
    """What a route can answer with, its favourite first."""
    if route.binding.method.streams:
        entries = entries_of(route.binding.method.output)
        # A run is watched; records are saved to a file.
        return (SSE, NDJSON) if entries is not None and entries.of_runs else (NDJSON, SSE)
    return (JSON, SSE, NDJSON) if route.stream is not None else (JSON,)


async def call(
    unary: Rpc, message: Message, passed: metadata.Metadata, timeout_s: float | None
) -> tuple[Any, list[Header]]:
    """Makes a unary call; returns its response and the headers that its metadata becomes.

    Raises:
        Problem: the call failed.
    """
    pending = _begin(unary, message, passed, timeout_s)
    try:
        response = await pending
        return response, metadata.response_headers(await pending.initial_metadata())
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from None
    except asyncio.CancelledError:
        pending.cancel()
        raise _cancelled() from None


def _begin(start: Rpc, message: Message, passed: metadata.Metadata, timeout_s: float | None) -> Any:
    try:
        return start(message, metadata=passed, timeout=timeout_s)
    except grpc.aio.UsageError:  # the channel is closed
        raise unreachable() from None


async def _accepted(stream: Any) -> tuple[list[Header], Any]:
    """Waits until the server has accepted a streaming call.

    Metadata that tells nothing may be that of a refusal, whose status comes with the first read. It may also be that of
    a stream that was accepted and has ended already: grpc.aio then has no initial metadata, but the trailing metadata
    name the run.

    Returns:
        The headers of the answer, and the first message where one had to be awaited.
    """
    try:
        returned = metadata.response_headers(await stream.initial_metadata())
        if returned:
            return returned, None
        first = await stream.read()
        return (metadata.response_headers(await stream.trailing_metadata()) if first is EOF else returned), first
    except grpc.aio.AioRpcError as error:
        if metadata.accepted(error.trailing_metadata()):
            return metadata.response_headers(error.trailing_metadata()), None  # the next read fails in the same way
        raise from_rpc(error) from None
    except asyncio.CancelledError:
        raise _cancelled() from None


async def _relay(stream: Any, first: Any, told: Teller, outlet: Outlet) -> Problem | None:
    """Sends what the server tells, a message in one write, and returns the failure that it ended with.

    Raises:
        ConnectionError: the client left, or takes nothing.
    """
    try:
        message = await stream.read() if first is None else first
        while message is not EOF:
            await outlet.send(told.tell(message))
            message = await stream.read()
    except grpc.aio.AioRpcError as error:
        return from_rpc(error)
    except ConnectionError:
        raise
    except asyncio.CancelledError:
        failure = _cancelled()
        if isinstance(failure, Problem):
            return failure
        raise
    except Exception as error:
        return defect(error)
    return None


def _cancelled() -> BaseException:
    """What a CancelledError means: our own task is to end, or the channel was closed under its call."""
    task = asyncio.current_task()
    return asyncio.CancelledError() if task is None or task.cancelling() else unreachable()


def _accept(request: Request) -> str | None:
    values = request.headers.getall("Accept", ())
    return ", ".join(values) if len(values) > 1 else values[0] if values else None
