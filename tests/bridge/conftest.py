"""Scripted services on a real socket, a bridge in front of it, and clients that really connect."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import pytest
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from penstock.status import STATUS_DETAILS_KEY
from penstock.v1 import flow_pb2, flow_pb2_grpc, run_pb2, run_pb2_grpc
from penstock.values import to_struct
from penstock_bridge.app import Bridge
from penstock_bridge.config import BridgeConfig
from penstock_bridge.upstream import connect

RUN = "r" * 32
SESSION = "s" * 32
TOKEN = "t0ken"
ACCEPTED = (("chat-session-id", SESSION), ("penstock-run-id", RUN))
TIMEOUT_S = 20


@dataclass
class Seen:
    method: str
    request: Any
    metadata: dict[str, str]
    time_remaining_s: float | None


@dataclass
class Scripted(flow_pb2_grpc.FlowServiceServicer, run_pb2_grpc.RunServiceServicer):
    """A FlowService and a RunService that do what a test tells them; unscripted they echo."""

    invoke: Callable[[Any, Any], Awaitable[run_pb2.Run]] | None = None
    stream: Callable[[Any, Any], AsyncIterator[flow_pb2.InvokeStreamResponse]] | None = None
    watch: Callable[[Any, Any], AsyncIterator[run_pb2.WatchRunResponse]] | None = None
    flows: list[flow_pb2.Flow] = field(default_factory=list)
    list_error: Status | None = None
    seen: list[Seen] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    ready: Any = field(default_factory=health.aio.HealthServicer)
    target: str = ""

    def note(self, method: str, request: Any, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        self.seen.append(Seen(method, request, metadata, context.time_remaining()))
        self.called.set()

    async def Invoke(self, request: Any, context: Any) -> run_pb2.Run:
        self.note("Invoke", request, context)
        try:
            if self.invoke is not None:
                return await self.invoke(request, context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        await context.send_initial_metadata(ACCEPTED)
        return run_pb2.Run(
            run=RUN,
            flow=request.flow or "echo",
            session=SESSION,
            status=run_pb2.Run.SUCCEEDED,
            inputs=request.inputs,
            outputs=request.inputs,
        )

    async def InvokeStream(self, request: Any, context: Any) -> AsyncIterator[flow_pb2.InvokeStreamResponse]:
        self.note("InvokeStream", request, context)
        told = (self.stream or tell_hello)(request, context)
        try:
            async for message in told:
                yield message
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise

    async def ListFlows(self, request: Any, context: Any) -> flow_pb2.ListFlowsResponse:
        self.note("ListFlows", request, context)
        if self.list_error is not None:
            await fail(context, self.list_error)
        return flow_pb2.ListFlowsResponse(flows=self.flows)

    async def GetFlow(self, request: Any, context: Any) -> flow_pb2.Flow:
        self.note("GetFlow", request, context)
        return flow_pb2.Flow(flow=request.flow)

    async def GetRun(self, request: Any, context: Any) -> run_pb2.Run:
        self.note("GetRun", request, context)
        return run_pb2.Run(run=request.run)

    async def ListRuns(self, request: Any, context: Any) -> run_pb2.ListRunsResponse:
        self.note("ListRuns", request, context)
        return run_pb2.ListRunsResponse(runs=[run_pb2.Run(run=RUN)])

    async def CancelRun(self, request: Any, context: Any) -> run_pb2.Run:
        self.note("CancelRun", request, context)
        return run_pb2.Run(run=request.run, status=run_pb2.Run.CANCELED)

    async def WatchRun(self, request: Any, context: Any) -> AsyncIterator[run_pb2.WatchRunResponse]:
        self.note("WatchRun", request, context)
        async for message in (self.watch or tell_rest)(request, context):
            yield message


async def tell_hello(request: Any, context: Any) -> AsyncIterator[flow_pb2.InvokeStreamResponse]:
    """What an unscripted stream says: three entries shown or not by the view, and the end."""
    await accept(context)
    for message in hello(simple=request.view == run_pb2.SIMPLE):
        yield message


async def tell_rest(request: Any, context: Any) -> AsyncIterator[run_pb2.WatchRunResponse]:
    """What an unscripted WatchRun says: the same run, behind the entry that is named, and its end in any case."""
    await accept(context)
    for message in hello(simple=request.view == run_pb2.SIMPLE):
        events = [e for e in message.events if e.sequence > request.after_sequence or e.HasField("run_finished")]
        if events:
            yield run_pb2.WatchRunResponse(events=events)


def hello(*, simple: bool) -> Iterator[flow_pb2.InvokeStreamResponse]:
    if not simple:
        yield batch(started(1), run_pb2.RunEvent(sequence=2, node_started=run_pb2.NodeStarted(node="ask")))
    yield batch(delta(3, answer="Hel"), delta(4, answer="lo"))
    yield batch(finished(5))


async def fail(context: Any, status: Status) -> None:
    """Ends a call as the server's interceptor does."""
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    details = (STATUS_DETAILS_KEY, status.SerializeToString())
    await context.abort(code, status.message, trailing_metadata=(details, *context.trailing_metadata()))


async def accept(context: Any) -> None:
    """Accepts a streaming call as the server does."""
    await context.send_initial_metadata(ACCEPTED)
    context.set_trailing_metadata(ACCEPTED)


def batch(*events: run_pb2.RunEvent) -> flow_pb2.InvokeStreamResponse:
    return flow_pb2.InvokeStreamResponse(events=events)


def started(sequence: int) -> run_pb2.RunEvent:
    return run_pb2.RunEvent(sequence=sequence, run_started=run_pb2.RunStarted(run=RUN, flow="echo", session=SESSION))


def delta(sequence: int, **outputs: object) -> run_pb2.RunEvent:
    return run_pb2.RunEvent(sequence=sequence, output_delta=run_pb2.OutputDelta(outputs=to_struct(outputs)))


def watched(*events: run_pb2.RunEvent) -> run_pb2.WatchRunResponse:
    return run_pb2.WatchRunResponse(events=events)


def finished(
    sequence: int, status: Any = run_pb2.Run.SUCCEEDED, error: Status | None = None, lost_after: int | None = None
) -> run_pb2.RunEvent:
    end = run_pb2.RunFinished(run=RUN, status=status, error=error, lost_after=lost_after)
    return run_pb2.RunEvent(sequence=sequence, run_finished=end)


class Speak:
    """What tests say events with; a fixture, because test modules cannot import one another."""

    RUN, SESSION, TOKEN, ACCEPTED = RUN, SESSION, TOKEN, ACCEPTED
    batch, watched, started, delta = map(staticmethod, (batch, watched, started, delta))
    finished, accept, fail = map(staticmethod, (finished, accept, fail))


@pytest.fixture
def speak() -> type[Speak]:
    return Speak


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    scripted = Scripted()
    running = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    flow_pb2_grpc.add_FlowServiceServicer_to_server(scripted, running)
    run_pb2_grpc.add_RunServiceServicer_to_server(scripted, running)
    health_pb2_grpc.add_HealthServicer_to_server(scripted.ready, running)
    scripted.target = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    await scripted.ready.set("", health_pb2.HealthCheckResponse.SERVING)
    await running.start()
    yield scripted
    await running.stop(0)


StartBridge = Callable[..., Awaitable[Bridge]]


@pytest.fixture
async def start_bridge(server: Scripted) -> AsyncIterator[StartBridge]:
    """Starts bridges with other settings than the default ones, or before another target."""
    async with AsyncExitStack() as stack:

        async def start(target: str = "", **settings: Any) -> Bridge:
            config = BridgeConfig(**{"http": "127.0.0.1:0", **settings})
            channel = connect(target or server.target, config)
            stack.push_async_callback(channel.close)
            bridge = Bridge(channel, config)
            await bridge.start()
            stack.push_async_callback(bridge.stop)
            return bridge

        yield start


@pytest.fixture
async def bridge(start_bridge: StartBridge) -> Bridge:
    return await start_bridge()


class Web:
    """An HTTP client that carries a token unless told otherwise."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    def url(self, bridge: Bridge, path: str) -> Any:
        from yarl import URL

        return URL("http://{}:{}{}".format(*bridge.address, path), encoded=True)

    def request(self, bridge: Bridge, method: str, path: str, *, token: str | None = TOKEN, **options: Any) -> Any:
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token}")
        return self._session.request(method, self.url(bridge, path), headers=headers, **options)

    def get(self, bridge: Bridge, path: str, **options: Any) -> Any:
        return self.request(bridge, "GET", path, **options)

    def post(self, bridge: Bridge, path: str, **options: Any) -> Any:
        return self.request(bridge, "POST", path, **options)


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        yield Web(session)


class Raw:
    """A bare connection, for what no HTTP client would send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def head(self) -> str:
        async with asyncio.timeout(TIMEOUT_S):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.read()


@pytest.fixture
async def dial() -> AsyncIterator[Callable[..., Awaitable[Raw]]]:
    """Opens bare connections to a bridge."""
    opened: list[asyncio.StreamWriter] = []

    async def open_connection(bridge: Bridge, receive_buffer_bytes: int = 0) -> Raw:
        connection = socket.socket()
        if receive_buffer_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, bridge.address)
        except OSError:
            connection.close()
            raise
        limit = receive_buffer_bytes or 2**20
        reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
        opened.append(writer)
        return Raw(reader, writer)

    yield open_connection
    for writer in opened:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            continue


def error_of(body: Any) -> tuple[int, str, str]:
    """Code, status and reason of an AIP-193 body."""
    error = body["error"]
    reasons = [detail["reason"] for detail in error["details"] if detail["@type"].endswith("/google.rpc.ErrorInfo")]
    return error["code"], error["status"], reasons[0]


@pytest.fixture
def reason_of() -> Callable[[Any], tuple[int, str, str]]:
    return error_of
