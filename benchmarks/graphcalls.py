"""Graphs of nodes: Penstock beside prompt flow's server, the cost of a node, and nodes that block."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from urllib.request import urlopen

from benchmarks.calls import WrongAnswer, graph
from benchmarks.cores import SERVER_CORE
from benchmarks.sample import Sample
from benchmarks.subjects import PENSTOCK, PROMPT_FLOW, Fleet, graph_subject
from benchmarks.throughput import Throughput

CONNECTIONS = 16
"""How many clients call at once."""

CHAIN_NODES = 10
"""How many nodes the flow `chain` has."""

BLOCKED_CALLS = 100
"""How many calls of the flow `block`, each a second long, are made at once."""

PROBE_PAUSE_S = 0.01
"""The pause between two looks at `/healthz`."""

ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Calls a second of one flow folder, which each subject serves as it is."""

    name: str
    title: str
    seconds: float
    unit: str = "calls/s"
    _runs: dict[str, Throughput] = field(default_factory=dict)

    @property
    def subjects(self) -> tuple[str, ...]:
        """See `Benchmark`."""
        return tuple(graph_subject(system, self.name) for system in (*PROMPT_FLOW, PENSTOCK))

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`."""
        if subject not in self._runs:
            self._runs[subject] = _throughput(subject, self.name, self.seconds)
        return self._runs[subject].measure(fleet, subject)


@dataclass(frozen=True, kw_only=True)
class NodeCost:
    """The CPU time that one more node costs: what a chain of nodes costs more than a single one."""

    name: str
    title: str
    seconds: float
    unit: str = "µs"
    subjects: tuple[str, ...] = (graph_subject(PENSTOCK, "chain"),)

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`."""
        chain = self._chain.measure(fleet, subject)
        single = self._single.measure(fleet, graph_subject(PENSTOCK, "single"))
        cost_us = chain.details["serve_cpu_us"] - single.details["serve_cpu_us"]
        return Sample(value=cost_us / (CHAIN_NODES - 1), details=chain.details, cores=chain.cores)

    @cached_property
    def _chain(self) -> Throughput:
        return _throughput(self.subjects[0], "chain", self.seconds)

    @cached_property
    def _single(self) -> Throughput:
        return _throughput(graph_subject(PENSTOCK, "single"), "single", self.seconds)


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """Seconds until calls that each block a thread for a second are all answered."""

    name: str
    title: str
    unit: str = "s"
    subjects: tuple[str, ...] = (graph_subject(PENSTOCK, "block"),)

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. Meanwhile `/healthz` is asked, again and again; the slowest answer is a detail."""
        target = fleet[subject]
        target.pin((SERVER_CORE,))
        call = graph("/")
        call.verify(target)
        answered = threading.Event()
        with ThreadPoolExecutor(BLOCKED_CALLS + 1) as clients:
            slowest = clients.submit(_slowest_s, f"{target.http}/healthz", answered)
            start = time.monotonic()
            done = [clients.submit(call.verify, target) for _ in range(BLOCKED_CALLS)]
            for each in done:
                each.result()
            elapsed_s = time.monotonic() - start
            answered.set()
            return Sample(value=elapsed_s, details={"healthz_ms": slowest.result() * 1000})


def _throughput(subject: str, flow: str, seconds: float) -> Throughput:
    system = subject.partition(", ")[0]
    return Throughput(
        name=flow,
        title=flow,
        unit="calls/s",
        call=graph("/" if system == PENSTOCK else "/score"),
        subjects=(subject,),
        connections=CONNECTIONS,
        seconds=seconds,
    )


def _slowest_s(url: str, stop: threading.Event) -> float:
    slowest_s = 0.0
    while not stop.wait(PROBE_PAUSE_S):
        start = time.monotonic()
        with urlopen(url, timeout=ANSWER_TIMEOUT_S) as answer:
            if answer.status != 200:
                raise WrongAnswer(f"{url}: {answer.status}")
        slowest_s = max(slowest_s, time.monotonic() - start)
    return slowest_s
