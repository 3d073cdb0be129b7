"""Calls a second under a steady load from h2load, with the CPU time that each call costs."""

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.calls import Call, WrongAnswer
from benchmarks.cores import LOAD_CORE, PROXY_CORE, SERVER_CORE
from benchmarks.layers import Profiler
from benchmarks.meter import OTHERS, OTHERS_CORES_MAX, Meter
from benchmarks.sample import Sample
from benchmarks.subjects import Fleet, Subject

CALIBRATION_S = 0.5
TRIES_MAX = 3
"""A disturbed measurement is repeated; the last try counts, however it was."""
RUN_TIMEOUT_S = 120.0
SHORTEST_ANSWER = 0.7
"""An average answer of less than this share of a verified one means that some calls failed.

Streams differ in size by how many events travel together, and ids by a few digits.
"""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """As many calls as the subject can answer on `connections`, each with `streams` calls in flight."""

    name: str
    title: str
    unit: str
    call: Call
    subjects: tuple[str, ...]
    connections: int
    seconds: float
    streams: int = 1
    _known: dict[str, "_Known"] = field(default_factory=dict)

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. The first measurement of a subject verifies its answers, warms it up and finds its rate."""
        target = fleet[subject]
        cores = target.pin((SERVER_CORE, PROXY_CORE))
        known = self._known.get(subject) or self._calibrate(target)
        for _ in range(TRIES_MAX):
            sample = self._load(target, known, self.seconds)
            if sample.details[OTHERS] <= OTHERS_CORES_MAX:
                break
        return Sample(value=sample.value, details=sample.details, cores={**cores, "load": LOAD_CORE})

    def profile(self, fleet: Fleet, subject: str) -> list[str]:
        """A report of where the CPU time of each Python process goes, in microseconds a unit."""
        plain = self.measure(fleet, subject)
        processes = [process for process in fleet[subject].processes if process.role != "envoy"]
        profilers = [Profiler(process, self.seconds) for process in processes]
        self.measure(fleet, subject)
        reports = [profiler.result().report(plain.details[f"{profiler.role}_cpu_us"]) for profiler in profilers]
        return [f"\n{self.title}: {subject}", *(line for report in reports for line in report)]

    def _calibrate(self, target: Subject) -> "_Known":
        known = _Known(answer_bytes=self.call.verify(target), calls_per_s=20.0 * self.connections)
        for _ in range(2):
            rate = self._load(target, known, CALIBRATION_S).value / self.call.units
            known = _Known(answer_bytes=known.answer_bytes, calls_per_s=rate)
        self._known[target.name] = known
        return known

    def _load(self, target: Subject, known: "_Known", seconds: float) -> Sample:
        calls = max(2 * self.connections, int(known.calls_per_s * seconds))
        meter = Meter(target)
        done = _Done.parse(self._h2load(target, calls))
        usage = meter.stop()
        done.check(calls, known.answer_bytes, target.name)
        units = self.call.units
        return Sample(value=done.calls_per_s * units, details=usage.per_unit_us(calls * units))

    def _h2load(self, target: Subject, calls: int) -> str:
        base = f"http://{target.grpc}" if self.call.is_grpc else target.http
        with tempfile.NamedTemporaryFile() as body:
            Path(body.name).write_bytes(self.call.body)
            command = ["taskset", "-c", str(LOAD_CORE), "h2load", "-n", str(calls), "-d", body.name]
            command += ["-c", str(self.connections), "-m", str(self.streams)]
            command += [] if self.call.is_grpc else ["--h1"]
            for name, value in self.call.headers:
                command += ["-H", f"{name}: {value}"]
            result = subprocess.run(
                [*command, base + self.call.path], capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=True
            )
        return result.stdout


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What earlier runs told about a subject."""

    answer_bytes: int
    calls_per_s: float


@dataclass(frozen=True, kw_only=True)
class _Done:
    """What h2load printed at its end."""

    calls_per_s: float
    succeeded: int
    ok: int
    data_bytes: int

    @classmethod
    def parse(cls, output: str) -> "_Done":
        return cls(
            calls_per_s=float(_find(r"finished in .*?, ([\d.]+) req/s", output)[0]),
            succeeded=int(_find(r"(\d+) succeeded", output)[0]),
            ok=int(_find(r"status codes: (\d+) 2xx", output)[0]),
            data_bytes=int(_find(r"\((\d+)\) data", output)[0]),
        )

    def check(self, calls: int, answer_bytes: int, subject: str) -> None:
        """Raises WrongAnswer unless every call was answered, with 2xx and as many bytes as a right answer has."""
        if self.succeeded != calls or self.ok != calls:
            raise WrongAnswer(f"{subject}: {self.succeeded} of {calls} calls succeeded, {self.ok} with 2xx")
        if self.data_bytes < SHORTEST_ANSWER * answer_bytes * calls:
            raise WrongAnswer(f"{subject}: answers have {self.data_bytes / calls:.0f} bytes instead of {answer_bytes}")


def _find(pattern: str, output: str) -> tuple[str, ...]:
    match = re.search(pattern, output)
    if match is None:
        raise WrongAnswer(f"h2load said something unexpected:\n{output[-2000:]}")
    return match.groups()
