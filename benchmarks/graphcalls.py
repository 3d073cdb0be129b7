"""Graphs of nodes: Penstock beside prompt flow's server, the cost of a node, and nodes that block."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from benchmarks.calls import WrongAnswer, graph
from benchmarks.cores import SERVER_CORE
from benchmarks.process import ROOT
from benchmarks.sample import Sample
from benchmarks.subjects import PENSTOCK, PROMPT_FLOW, Fleet, graph_subject
from benchmarks.throughput import Throughput

CONNECTIONS = 16
"""How many clients call at once."""

CHAIN_NODES = 10
"""How many nodes the flow `chain` has."""

BLOCKED_CALLS = 100
"""How many calls of the flow `block`, each a second long, are made at once."""

PROBE_START_S = 0.5
"""How long the program that asks for `/healthz` gets to start."""


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
        probe = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.health", f"{target.http}/healthz"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        with probe, ThreadPoolExecutor(BLOCKED_CALLS) as clients:
            time.sleep(PROBE_START_S)
            start = time.monotonic()
            done = [clients.submit(call.verify, target) for _ in range(BLOCKED_CALLS)]
            for each in done:
                each.result()
            elapsed_s = time.monotonic() - start
            slowest, _ = probe.communicate()
        if probe.returncode:
            raise WrongAnswer(f"{subject}: /healthz did not answer")
        return Sample(value=elapsed_s, details={"healthz_ms": float(slowest) * 1000})


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
