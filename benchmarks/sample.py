"""What a measurement gives, and what makes one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.subjects import Fleet


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement of one subject."""

    value: float
    details: Mapping[str, float] = field(default_factory=dict)
    """Further figures of the same measurement, by their names with units."""
    cores: Mapping[str, int] = field(default_factory=dict)
    """Which process was on which core."""


class Benchmark(Protocol):
    """A measurement that is repeated for several subjects, in turns."""

    @property
    def name(self) -> str:
        """What `--only` calls it."""

    @property
    def title(self) -> str:
        """What is measured, for people."""

    @property
    def unit(self) -> str:
        """The unit of the samples' values."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects that are compared."""

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """Measures once.

        Raises:
            WrongAnswer: the subject does not do what it is measured for.
        """
