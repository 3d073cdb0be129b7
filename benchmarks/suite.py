"""What is measured."""

from functools import partial

from benchmarks import calls
from benchmarks.crowd import Crowd
from benchmarks.first_event import FirstEvent
from benchmarks.graphcalls import Blocked, Graph, NodeCost
from benchmarks.history_export import Export
from benchmarks.history_length import Length
from benchmarks.history_pages import Pages
from benchmarks.idle import Idle
from benchmarks.instances import LEASE_S, Resumed, TakenOver
from benchmarks.knowledge import Retrieval
from benchmarks.models import FirstToken, ModelStreams, UpstreamClosed
from benchmarks.paced import Paced
from benchmarks.sample import Benchmark
from benchmarks.stalled import Stalled
from benchmarks.startup import Startup
from benchmarks.stores import MARIADB, NO_STORE, POSTGRESQL, SQLITE
from benchmarks.subjects import (
    BARE_AIOHTTP,
    BARE_ENVOY,
    BARE_GRPC,
    ENVOY,
    ONE,
    SPLIT,
    STORING,
)
from benchmarks.throughput import Throughput

MESSAGES = 1_000_000
"""How many messages a large store holds."""
MESSAGES_QUICK = 20_000
"""The same where nothing is to be measured."""


def benchmarks(seconds: float) -> list[Benchmark]:
    """All benchmarks, each measurement about `seconds` long."""
    return [
        *_unary(seconds),
        *_streams(seconds),
        *_promises(),
        *_history(seconds),
        *_runs(seconds),
        *_models(seconds),
        *_graphs(seconds),
        Startup(name="startup", title="`penstock serve` to ready"),
    ]


def _unary(seconds: float) -> list[Benchmark]:
    rest = partial(Throughput, unit="calls/s", connections=32, seconds=seconds)
    return [
        Throughput(
            name="grpc",
            title="gRPC Invoke (8 connections, 4 calls at once on each)",
            call=calls.grpc_echo(),
            subjects=(BARE_GRPC, SPLIT, ONE),
            unit="calls/s",
            connections=8,
            streams=4,
            seconds=seconds,
        ),
        rest(
            name="rest",
            title="REST Invoke, POST / (32 connections)",
            call=calls.echo(),
            subjects=(BARE_AIOHTTP, SPLIT, ONE),
        ),
        rest(
            name="run",
            title="REST Invoke, POST /v1/flows/echo:invoke (32 connections)",
            call=calls.run(),
            subjects=(BARE_ENVOY, ENVOY, SPLIT, ONE),
        ),
    ]


def _streams(seconds: float) -> list[Benchmark]:
    sse = partial(Throughput, unit="tokens/s", connections=8, seconds=seconds)
    return [
        sse(
            name="sse",
            title="SSE, deltas alone (8 connections, 200 tokens a stream)",
            call=calls.tokens("SIMPLE"),
            subjects=(BARE_AIOHTTP, ENVOY, SPLIT, ONE),
        ),
        sse(
            name="sse-full",
            title="SSE, every event (8 connections, 200 tokens a stream)",
            call=calls.tokens("FULL"),
            subjects=(ENVOY, SPLIT, ONE),
        ),
        Paced(
            name="paced",
            title="Streams of 50 tokens/s at once with a P99 delay of at most 50 ms, all processes on one core",
            subjects=(ENVOY, SPLIT, ONE),
            seconds=seconds,
        ),
    ]


def _graphs(seconds: float) -> list[Benchmark]:
    return [
        Graph(name="chain", title="A chain of 10 Python nodes (16 connections)", seconds=seconds),
        Graph(name="fan", title="A fan of 16 Python nodes, and one that joins them (16 connections)", seconds=seconds),
        NodeCost(name="node", title="CPU time of one more Python node", seconds=seconds),
        Blocked(name="blocked", title="100 calls at once, each of which blocks a thread for a second"),
    ]


def _promises() -> list[Benchmark]:
    return [
        FirstEvent(
            name="first-event",
            title="First SSE event, one idle client: what is added to the flow's own time",
            subjects=(ENVOY, SPLIT, ONE),
        ),
        Stalled(
            name="stalled-http",
            title="A client that reads nothing of an endless SSE stream",
            subjects=(SPLIT, ONE),
            is_grpc=False,
        ),
        Stalled(
            name="stalled-grpc",
            title="A client that reads nothing of an endless gRPC stream",
            subjects=(ONE,),
            is_grpc=True,
        ),
    ]


def _history(seconds: float) -> list[Benchmark]:
    messages = MESSAGES if seconds >= 1 else MESSAGES_QUICK
    return [
        Throughput(
            name="history",
            title="gRPC Invoke of a chat flow, each call a session of its own (16 connections)",
            call=calls.grpc_chat(),
            subjects=(NO_STORE, SQLITE, MARIADB, POSTGRESQL),
            unit="calls/s",
            connections=16,
            seconds=seconds,
        ),
        Length(name="history-length", title="gRPC Invoke of a chat flow, by the length of its session (SQLite)"),
        Pages(
            name="history-pages",
            title=f"List page of 50, P99, in a store with {messages:,} messages",
            subjects=(SQLITE, MARIADB, POSTGRESQL),
            messages=messages,
        ),
        Export(
            name="history-export",
            title=f"Growth of the server's memory while {messages:,} messages are exported",
            subjects=(SQLITE, MARIADB, POSTGRESQL),
            messages=messages,
        ),
    ]


def _runs(seconds: float) -> list[Benchmark]:
    streams, clients, stalled_s = (10_000, 1_000, 60.0) if seconds >= 1 else (200, 50, 4.0)
    return [
        Throughput(
            name="event-log",
            title="SSE, deltas alone, of runs that are stored (8 connections, 200 tokens a stream)",
            call=calls.tokens("SIMPLE"),
            subjects=(ONE, STORING),
            unit="tokens/s",
            connections=8,
            seconds=seconds,
        ),
        Idle(
            name="idle",
            title=f"{streams:,} SSE streams at once of a flow that waits",
            subjects=(STORING,),
            streams=streams,
        ),
        Crowd(
            name="crowd",
            title=f"{clients:,} clients that read nothing of endless SSE streams, for {stalled_s:g} s",
            subjects=(STORING,),
            clients=clients,
            stalled_s=stalled_s,
        ),
        TakenOver(
            name="taken-over",
            title=f"From the kill -9 of one of two instances to the end of its runs (lease {LEASE_S} s)",
            subjects=(POSTGRESQL, MARIADB),
        ),
        Resumed(
            name="resumed",
            title="First event of a run that is resumed at another instance, the slowest",
            subjects=(POSTGRESQL, MARIADB),
        ),
    ]


def _models(seconds: float) -> list[Benchmark]:
    return [
        ModelStreams(
            name="model-streams",
            title="A flow with an LLM node, and the openai SDK alone, at the same model server (32 streams at once)",
            seconds=seconds,
        ),
        FirstToken(name="model-first", title="First token, one idle client: what an LLM node adds to the SDK"),
        UpstreamClosed(name="model-closed", title="From a caller's leaving to the end of the request to the model"),
        Retrieval(
            name="retrieval",
            title="A retrieval node to Milvus's client alone, over 100,000 chunks in milvus-lite",
            seconds=seconds,
        ),
    ]
