"""The figures that Penstock has to reach."""

from dataclasses import dataclass
from statistics import median

from benchmarks.history_length import LONG, SHORT
from benchmarks.meter import OTHERS, OTHERS_CORES_MAX
from benchmarks.sample import Sample
from benchmarks.stalled import WRITE_TIMEOUT_S
from benchmarks.stores import MARIADB, NO_STORE, POSTGRESQL, SQLITE
from benchmarks.subjects import (
    BARE_AIOHTTP,
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

Results = dict[str, dict[str, list[Sample]]]
"""The samples by benchmark and subject, one a round."""


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
