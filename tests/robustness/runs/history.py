"""What callers saw: every acknowledgement, event, end and error, with when it was seen; and when which fault began.

Times are seconds of the machine's monotonic clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

SUCCEEDED, FAILED, CANCELED, INTERRUPTED = "SUCCEEDED", "FAILED", "CANCELED", "INTERRUPTED"
TERMINAL = {SUCCEEDED, FAILED, CANCELED, INTERRUPTED}
DELTA, FINISHED = "output_delta", "run_finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An entry of a run's log, as one reader saw it."""

    sequence: int
    kind: str
    """The name of the field of `RunEvent`."""
    content: bytes
    """The whole entry, serialized."""
    at_s: float = 0.0
    text: str = ""
    """Of a delta: its chunk."""
    status: str = ""
    """Of the last entry: how the run ended."""
    lost_after: int | None = None


@dataclass(kw_only=True)
class Reader:
    """Somebody who reads a run's log to its end, over as many connections as it takes."""

    name: str
    run: str = ""
    after: int = 0
    """The last event that the reader had before."""
    simple: bool = False
    """Whether it asked for output deltas and the end alone."""
    events: list[Event] = field(default_factory=list)
    left: bool = False
    """Whether it went away by its own will."""
    problems: list[str] = field(default_factory=list)
    """What no reader should meet."""

    @property
    def position(self) -> int:
        """Where to resume."""
        return self.events[-1].sequence if self.events else self.after

    @property
    def gaps(self) -> Iterator[tuple[int, Event]]:
        """Where a number does not follow the one before: that, and the event that came instead."""
        numbers = [self.after, *(event.sequence for event in self.events)]
        for (before, number), event in zip(pairwise(numbers), self.events, strict=True):
            if number != before + 1:
                yield before, event


@dataclass(kw_only=True)
class Request:
    """One sending of a request. The same request may be sent often: with a key, or after it was refused."""

    question: str
    """No two requests ask the same; those with the same question are one, repeated."""
    session: str = ""
    key: str = ""
    sent_s: float = 0.0
    accepted_s: float = inf
    run: str = ""
    """The run, where the call was accepted."""
    status: str = ""
    """How the run ended, where the call was told."""
    answer: str | None = None
    """What a unary call was answered."""
    error: str = ""
    """Why the call failed: the reason, or the code where the connection broke."""
    refused: bool = False
    """Whether the service itself said no, before it accepted anything."""


@dataclass(kw_only=True)
class Cancel:
    """A call of CancelRun."""

    run: str
    asked_s: float
    returned_s: float = inf
    status: str = ""
    """How the run stands, as the call was answered; empty where it failed."""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something was out of order for a while."""

    kind: str
    began_s: float
    ended_s: float = inf
    process: int = 0
    """The instance's process that it befell; 0 where it befell what all share."""


KILLED, FROZEN, STORE = "killed", "frozen", "store"
"""Kinds of faults: a process is dead, or stands still, or the store does not answer."""


@dataclass(kw_only=True)
class History:
    """Everything that was seen, over all lives of all instances."""

    requests: list[Request] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def runs(self) -> set[str]:
        """The runs that were accepted."""
        return {each.run for each in self.requests if each.run}
