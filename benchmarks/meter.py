"""Who used the CPU while something was measured."""

import resource
import time
from dataclasses import dataclass

from benchmarks.process import machine_cpu_s
from benchmarks.subjects import Subject

OTHERS = "others_cores"
"""The detail of a sample that says how many cores other programs kept busy meanwhile."""

OTHERS_CORES_MAX = 0.15
"""More than that, and the measurement is disturbed."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """CPU time of a measurement."""

    processes_s: dict[str, float]
    """By role: the subject's processes."""
    load_s: float
    """This program's children, which make the load."""
    others_cores: float

    def per_unit_us(self, units: float) -> dict[str, float]:
        """The details of a sample that counts `units`."""
        used = {**self.processes_s, "load": self.load_s}
        costs = {f"{role}_cpu_us": cpu_s * 1e6 / units for role, cpu_s in used.items()}
        return {**costs, OTHERS: self.others_cores}


class Meter:
    """Measures from its creation to `stop`. A child counts as load once it has ended."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._start_s = time.monotonic()
        self._machine_s = machine_cpu_s()
        self._processes_s = subject.cpu_s()
        self._load_s = _children_s()

    def stop(self) -> Usage:
        """What was used since the start."""
        processes_s = {role: cpu_s - self._processes_s[role] for role, cpu_s in self._subject.cpu_s().items()}
        load_s = _children_s() - self._load_s
        others_s = machine_cpu_s() - self._machine_s - load_s - sum(processes_s.values())
        elapsed_s = time.monotonic() - self._start_s
        return Usage(processes_s=processes_s, load_s=load_s, others_cores=max(0.0, others_s / elapsed_s))


def _children_s() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime
