"""Two instances on one database: a run of the first is followed on the second."""

import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.calls import WrongAnswer, stream
from benchmarks.cores import PROXY_CORE, SERVER_CORE
from benchmarks.eventstream import TERMINAL, EventStream, watch
from benchmarks.flows import PACE_S
from benchmarks.sample import Sample
from benchmarks.subjects import Fleet, Subject

LEASE_S = 3
RUNS = 20
RUN_S = 60.0
"""How long the runs would go on: for longer than anything here takes."""
BEGUN_S = 1.0
"""How long the runs have gone on when their subscribers come."""


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """Seconds from a `kill -9` of the first instance until all subscribers of its runs know the end, on the second."""

    name: str
    title: str
    subjects: tuple[str, ...]
    unit: str = "s"

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. Both instances and their database are new."""
        with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder), {"PENSTOCK_LEASE_S": str(LEASE_S)}) as fresh:
            first, second, cores = _pair(fresh, subject)
            with ExitStack() as stack:
                begun = [_begin(first, stack) for _ in range(RUNS)]
                time.sleep(BEGUN_S)
                followed = [watch(second.http, each.run()) for each in begun]
                for each in followed:
                    stack.callback(each.close)
                    each.first_id()
                start_s = time.monotonic()
                first.processes[0].child.kill()
                ends = [(each.until(TERMINAL)[0], time.monotonic() - start_s) for each in followed]
        for end, _ in ends:
            if b"RUN_INTERRUPTED" not in end:
                raise WrongAnswer(f"a run whose instance was killed ended so: {end!r}")
        return Sample(value=ends[-1][1], details={"lease_s": LEASE_S}, cores=cores)


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """Milliseconds from the request at the second instance to its first event; the slowest of `RUNS` runs."""

    name: str
    title: str
    subjects: tuple[str, ...]
    unit: str = "ms"

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. The reader has left the first instance before."""
        with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder)) as fresh:
            first, second, cores = _pair(fresh, subject)
            waited_ms = [_resume(first, second) for _ in range(RUNS)]
        return Sample(value=max(waited_ms), details={"median_ms": statistics.median(waited_ms)}, cores=cores)


def _resume(first: Subject, second: Subject) -> float:
    with ExitStack() as stack:
        left = _begin(first, stack)
        run = left.run()
        last = left.first_id()
    time.sleep(BEGUN_S / 2)
    start_s = time.monotonic()
    resumed = watch(second.http, run, after=last)
    try:
        found = resumed.first_id()
        waited_ms = 1000 * (time.monotonic() - start_s)
    finally:
        resumed.close()
    if found != last + 1:
        raise WrongAnswer(f"the events behind {last} begin with {found}")
    return waited_ms


def _begin(first: Subject, stack: ExitStack) -> EventStream:
    """A stream of a run whose first event is there; the stack leaves it."""
    call = stream("paced", {"count": int(RUN_S / PACE_S)}, view="FULL")
    begun = EventStream(first.http, call.raw(first.http))
    stack.callback(begun.close)
    begun.first_id()
    return begun


def _pair(fleet: Fleet, store: str) -> tuple[Subject, Subject, dict[str, int]]:
    """Both instances on one core, the database on the other."""
    first, second, database = fleet.pair(store)
    cores = {**first.pin((SERVER_CORE,)), **database.pin((PROXY_CORE,))}
    second.pin((SERVER_CORE,))
    return first, second, cores
