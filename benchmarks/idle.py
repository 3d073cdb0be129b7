"""What thousands of streams cost that wait for their flow."""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bystander import p99_ms
from benchmarks.calls import WrongAnswer
from benchmarks.cores import LOAD_CORE, SERVER_CORE
from benchmarks.process import ROOT
from benchmarks.sample import Sample
from benchmarks.subjects import Fleet, Subject

SETTLE_S = 2.0
WINDOW_S = 20.0
"""Longer than a stream may be silent, so that its ping counts."""
OTHERS_S = 10.0
FILES_SPARE = 1_000
"""How many more files than streams a process may open."""


@dataclass(frozen=True, kw_only=True)
class Idle:
    """KiB of resident memory for each of `streams` streams whose flow awaits after its first token, in a fresh process.

    `cpu_percent` says how much of a core the process uses meanwhile, `p99_ms` how long other, unary calls take.
    """

    name: str
    title: str
    subjects: tuple[str, ...]
    streams: int
    unit: str = "KiB a stream"

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`."""
        _allow_files(self.streams + FILES_SPARE)
        room = str(self.streams + FILES_SPARE)
        environment = {"PENSTOCK_RUNS_MAX": room, "PENSTOCK_CALLS_MAX": room}
        with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder), environment) as fresh:
            target = fresh[subject]
            cores = target.pin((SERVER_CORE,))
            before_ms = p99_ms(target, OTHERS_S)
            before = target.rss_bytes()
            with _open(target, self.streams):
                time.sleep(SETTLE_S)
                cpu_percent = _cpu_percent(target)
                growth = target.rss_bytes() - before
                details = {"cpu_percent": cpu_percent, "p99_ms": p99_ms(target, OTHERS_S), "p99_before_ms": before_ms}
        return Sample(value=growth / 1024 / self.streams, details=details, cores={**cores, "load": LOAD_CORE})


def _cpu_percent(target: Subject) -> float:
    start_s, used_s = time.monotonic(), sum(target.cpu_s().values())
    time.sleep(WINDOW_S)
    return 100 * (sum(target.cpu_s().values()) - used_s) / (time.monotonic() - start_s)


@contextmanager
def _open(target: Subject, streams: int) -> Iterator[None]:
    """Within the block, all streams are open, in a process of their own."""
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "benchmarks.idle_reader"]
    reader = subprocess.Popen(
        [*command, target.http, str(streams)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with reader:
        assert reader.stdout is not None
        if reader.stdout.readline().strip() != b"open":
            raise WrongAnswer(f"not all of {streams} streams could be opened")
        yield


def _allow_files(count: int) -> None:
    """Lets this process, and those that it starts, open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        sys.exit(f"The benchmark opens {count} files at once, and {hard} are allowed: raise `ulimit -n`.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
