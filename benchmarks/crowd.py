"""What a crowd of stalled readers does to a service that stores its runs, and to its other callers."""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bystander import p99_ms
from benchmarks.calls import stream
from benchmarks.cores import LOAD_CORE, SERVER_CORE
from benchmarks.eventstream import EventStream
from benchmarks.sample import Sample
from benchmarks.subjects import Fleet, Subject

OPENED_PER_S = 100
"""Each stream that opens makes the service store a window of its events."""
SETTLE_S = 10.0
LOOKS = 6
"""How often memory is looked at, and others' calls are timed, within the time."""
WRITE_TIMEOUT_S = 300
"""Longer than the measurement: nobody is dropped."""


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """KiB of resident memory for each of `clients` readers of endless flows that take nothing, in a fresh process.

    `growth` is how memory at the end compares to that at the beginning, both with all readers stalled; `p99` how the
    P99 of other calls compares to that before there were any readers.
    """

    name: str
    title: str
    subjects: tuple[str, ...]
    clients: int
    stalled_s: float
    unit: str = "KiB a client"

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`."""
        environment = {"PENSTOCK_WRITE_TIMEOUT_S": str(WRITE_TIMEOUT_S)}
        with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder), environment) as fresh, ExitStack() as stack:
            target = fresh[subject]
            cores = target.pin((SERVER_CORE,))
            before_ms = p99_ms(target, self.stalled_s / 2)
            before = target.rss_bytes()
            self._open(target, stack)
            time.sleep(SETTLE_S)
            first = target.rss_bytes()
            highest = first
            others_ms = p99_ms(target, self.stalled_s / 2)
            for _ in range(LOOKS):
                time.sleep(self.stalled_s / 2 / LOOKS)
                highest = max(highest, target.rss_bytes())
        return Sample(
            value=(highest - before) / 1024 / self.clients,
            details={
                "growth": highest / first,
                "p99": others_ms / before_ms,
                "p99_before_ms": before_ms,
                "p99_ms": others_ms,
            },
            cores={**cores, "load": LOAD_CORE},
        )

    def _open(self, target: Subject, stack: ExitStack) -> None:
        request = stream("endless", {}).raw(target.http)
        for _ in range(self.clients):
            stack.callback(EventStream(target.http, request).close)
            time.sleep(1 / OPENED_PER_S)
