"""What is measured: the benchmarks, and the figures that Penstock has to reach."""

from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks import calls
from benchmarks.crowd import Crowd
from benchmarks.first_event import FirstEvent
from benchmarks.graphcalls import Blocked, Graph, NodeCost
from benchmarks.history_export import Export
from benchmarks.history_length import LONG, SHORT, Length
from benchmarks.history_pages import Pages
from benchmarks.idle import Idle
from benchmarks.instances import LEASE_S, Resumed, TakenOver
from benchmarks.knowledge import Retrieval
from benchmarks.meter import OTHERS, OTHERS_CORES_MAX
from benchmarks.models import FirstToken, ModelStreams, UpstreamClosed
from benchmarks.paced import Paced
from benchmarks.sample import Benchmark, Sample
from benchmarks.stalled import WRITE_TIMEOUT_S, Stalled
from benchmarks.startup import Startup
from benchmarks.stores import MARIADB, NO_STORE, POSTGRESQL, SQLITE
from benchmarks.subjects import (
    BARE_AIOHTTP,
    BARE_ENVOY,
    BARE_GRPC,
    ENVOY,
    LLM,
    ONE,
    PENSTOCK,
    PROMPT_FLOW,
    RETRIEVAL,
    SDK,
    SPLIT,
    STORING,
    graph_subject,
)
from benchmarks.throughput import Throughput

Results = dict[str, dict[str, list[Sample]]]
"""The samples by benchmark and subject, one a round."""

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


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Something that has to hold: a subject's value, or its ratio to another one's in the same round."""

    text: str
    benchmark: str
    subject: str
    against: str = ""
    detail: str = ""
    """Which of the sample's details is meant; its value by default."""
    unit: str = "×"
    at_least: float | None = None
    at_most: float | None = None

    def values(self, results: Results) -> list[float]:
        """The figure in each round; empty where it was not measured."""
        samples = results.get(self.benchmark, {})
        mine = [self._of(sample) for sample in samples.get(self.subject, [])]
        if not self.against:
            return mine
        theirs = [self._of(sample) for sample in samples.get(self.against, [])]
        return [a / b for a, b in zip(mine, theirs, strict=False) if b]

    def disturbed(self, results: Results) -> bool:
        """Whether other programs kept the cores busy in most of the rounds."""
        names = [name for name in (self.subject, self.against) if name]
        samples = [results[self.benchmark][name] for name in names]
        return any(median(s.details.get(OTHERS, 0.0) for s in found) > OTHERS_CORES_MAX for found in samples)

    def holds(self, value: float) -> bool:
        """Whether a value reaches the target."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is None or value <= self.at_most

    @property
    def target(self) -> str:
        """The target, for people."""
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"

    def _of(self, sample: Sample) -> float:
        return sample.details[self.detail] if self.detail else sample.value


FIGURES = [
    Figure(text="gRPC Invoke, to bare grpc.aio", benchmark="grpc", subject=SPLIT, against=BARE_GRPC, at_least=0.65),
    Figure(text="REST Invoke, split, to Envoy", benchmark="run", subject=SPLIT, against=ENVOY, at_least=0.9),
    Figure(
        text="REST Invoke, one process, to bare aiohttp",
        benchmark="rest",
        subject=ONE,
        against=BARE_AIOHTTP,
        at_least=0.35,
    ),
    Figure(text="SSE deltas, one process, to Envoy", benchmark="sse", subject=ONE, against=ENVOY, at_least=1.3),
    Figure(text="SSE deltas, split, to Envoy", benchmark="sse", subject=SPLIT, against=ENVOY, at_least=0.6),
    Figure(
        text="SSE every event, one process, to Envoy", benchmark="sse-full", subject=ONE, against=ENVOY, at_least=1.3
    ),
    Figure(text="SSE every event, split, to Envoy", benchmark="sse-full", subject=SPLIT, against=ENVOY, at_least=0.6),
    Figure(text="Paced streams, one process, to Envoy", benchmark="paced", subject=ONE, against=ENVOY, at_least=2.0),
    Figure(text="First event, one process", benchmark="first-event", subject=ONE, unit="ms", at_most=3.0),
    Figure(text="First event, split", benchmark="first-event", subject=SPLIT, unit="ms", at_most=3.0),
    Figure(text="Stalled SSE client, one process", benchmark="stalled-http", subject=ONE, unit="KiB", at_most=384),
    Figure(text="Stalled SSE client, split", benchmark="stalled-http", subject=SPLIT, unit="KiB", at_most=384),
    Figure(text="Stalled gRPC client", benchmark="stalled-grpc", subject=ONE, unit="KiB", at_most=384),
    *(
        Figure(
            text=f"{text}, all dropped after",
            benchmark=benchmark,
            subject=subject,
            detail="dropped_s",
            unit="s",
            at_most=WRITE_TIMEOUT_S + 3,
        )
        for text, benchmark, subject in (
            ("Stalled SSE clients, one process", "stalled-http", ONE),
            ("Stalled SSE clients, split", "stalled-http", SPLIT),
            ("Stalled gRPC clients", "stalled-grpc", ONE),
        )
    ),
    Figure(
        text="LLM node, tokens/s, to the openai SDK", benchmark="model-streams", subject=LLM, against=SDK, at_least=0.9
    ),
    Figure(text="LLM node, first token, added", benchmark="model-first", subject=LLM, unit="ms", at_most=3),
    Figure(text="LLM node, request ended", benchmark="model-closed", subject=LLM, unit="ms", at_most=50),
    Figure(text="Retrieval node, to Milvus's client", benchmark="retrieval", subject=RETRIEVAL, at_most=1.2),
    *(
        Figure(
            text=f"{text}, to {system}",
            benchmark=flow,
            subject=graph_subject(PENSTOCK, flow),
            against=graph_subject(system, flow),
            at_least=10,
        )
        for flow, text in (("chain", "Chain of 10 nodes"), ("fan", "Fan of 16 nodes"))
        for system in PROMPT_FLOW
    ),
    Figure(
        text="One more Python node", benchmark="node", subject=graph_subject(PENSTOCK, "chain"), unit="µs", at_most=60
    ),
    Figure(
        text="100 calls that block for a second",
        benchmark="blocked",
        subject=graph_subject(PENSTOCK, "block"),
        unit="s",
        at_most=1.6,
    ),
    Figure(
        text="/healthz meanwhile, the slowest",
        benchmark="blocked",
        subject=graph_subject(PENSTOCK, "block"),
        detail="healthz_ms",
        unit="ms",
        at_most=50,
    ),
    Figure(text="`penstock serve` to ready", benchmark="startup", subject=ONE, unit="s", at_most=1.5),
    Figure(text="`penstock serve` idle", benchmark="startup", subject=ONE, detail="idle_mib", unit="MiB", at_most=110),
    Figure(text="Chat with history, SQLite", benchmark="history", subject=SQLITE, against=NO_STORE, at_least=0.4),
    Figure(text="Chat with history, MariaDB", benchmark="history", subject=MARIADB, against=NO_STORE, at_least=0.25),
    Figure(
        text="Chat with history, PostgreSQL", benchmark="history", subject=POSTGRESQL, against=NO_STORE, at_least=0.25
    ),
    Figure(text="10,000 turns to 10", benchmark="history-length", subject=LONG, against=SHORT, at_most=1.1),
    *(
        figure
        for store in (SQLITE, MARIADB, POSTGRESQL)
        for figure in (
            Figure(text=f"List page, {store}", benchmark="history-pages", subject=store, unit="ms", at_most=10),
            Figure(
                text=f"Slowest search, {store}",
                benchmark="history-pages",
                subject=store,
                detail="search_ms",
                unit="ms",
                at_most=100,
            ),
            Figure(text=f"Export, {store}", benchmark="history-export", subject=store, unit="MiB", at_most=32),
        )
    ),
    Figure(
        text="SSE deltas with the event log, to without",
        benchmark="event-log",
        subject=STORING,
        against=ONE,
        at_least=0.8,
    ),
    Figure(text="Idle SSE stream", benchmark="idle", subject=STORING, unit="KiB", at_most=80),
    Figure(
        text="Idle SSE streams, of a core",
        benchmark="idle",
        subject=STORING,
        detail="cpu_percent",
        unit="%",
        at_most=10,
    ),
    Figure(
        text="Idle SSE streams, P99 of other calls",
        benchmark="idle",
        subject=STORING,
        detail="p99_ms",
        unit="ms",
        at_most=25,
    ),
    Figure(
        text="Stalled crowd, memory at its highest to that at first",
        benchmark="crowd",
        subject=STORING,
        detail="growth",
        at_most=1.05,
    ),
    Figure(
        text="Stalled crowd, P99 of other calls, to without",
        benchmark="crowd",
        subject=STORING,
        detail="p99",
        at_most=1.1,
    ),
    *(
        figure
        for store in (POSTGRESQL, MARIADB)
        for figure in (
            Figure(
                text=f"Killed instance, its runs ended, {store}",
                benchmark="taken-over",
                subject=store,
                unit="s",
                at_most=5,
            ),
            Figure(text=f"Resumed elsewhere, {store}", benchmark="resumed", subject=store, unit="ms", at_most=300),
        )
    ),
]
