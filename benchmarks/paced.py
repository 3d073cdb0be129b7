"""How many streams at 50 tokens/s run at once while nearly every token comes in time."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.cores import LOAD_CORE, SERVER_CORE
from benchmarks.meter import Meter
from benchmarks.process import ROOT
from benchmarks.sample import Sample
from benchmarks.subjects import Fleet, Subject

P99_MS_MAX = 50.0
FIRST_GUESS = 128
TRIALS_MAX = 12
RESOLUTION = 1.06
READER_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Paced:
    """The largest number of streams whose P99 delay stays within `P99_MS_MAX`; all processes share one core."""

    name: str
    title: str
    subjects: tuple[str, ...]
    seconds: float
    unit: str = "streams"
    _capacities: dict[str, int] = field(default_factory=dict)

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. After the first round the search begins where the last one ended."""
        target = fleet[subject]
        cores = target.pin((SERVER_CORE,))
        last = self._capacities.get(subject)
        trials: dict[int, dict[str, float]] = {}

        def in_time(streams: int) -> bool:
            """Fails only when it fails twice: one pause of the machine is not the subject's limit."""
            for _ in range(2):
                trials[streams] = self._trial(target, streams)
                if trials[streams]["p99_ms"] <= P99_MS_MAX:
                    return True
            return False

        capacity = largest(in_time, guess=last or FIRST_GUESS, step=1.25 if last else 2.0)
        self._capacities[subject] = max(capacity, 2)
        return Sample(value=capacity, details=trials.get(capacity, {}), cores={**cores, "load": LOAD_CORE})

    def _trial(self, target: Subject, streams: int) -> dict[str, float]:
        meter = Meter(target)
        command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "benchmarks.paced_reader"]
        result = subprocess.run(
            [*command, target.http, str(streams), str(self.seconds)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=READER_TIMEOUT_S,
            check=False,
        )
        if result.returncode:
            raise RuntimeError(f"the reader of {streams} streams failed:\n{result.stderr[-2000:]}")
        usage = meter.stop()
        delays: dict[str, float] = json.loads(result.stdout)
        return {**delays, **usage.per_unit_us(delays["told"])}


def largest(good: Callable[[int], bool], *, guess: int, step: float) -> int:
    """The largest number that is good, within `RESOLUTION`, for a property that only small numbers have."""
    low, high, trial = 0, 0, guess
    for _ in range(TRIALS_MAX):
        if good(trial):
            low = trial
        else:
            high = trial
        if high and low and high <= low * RESOLUTION:
            break
        if not high:
            trial = int(low * step) + 1
        elif not low:
            trial = int(high / step)
        else:
            trial = (low + high) // 2
        if trial in (low, high) or trial < 1:
            break
    return low
