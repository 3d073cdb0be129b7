"""What there is when all is over, as the service tells it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.robustness.runs.effects import Effect
from tests.robustness.runs.history import Event


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A run as GetRun, WatchRun and the history have it."""

    run: str
    status: str
    question: str
    answer: str = ""
    """What it has said: GetRun's outputs."""
    log: Sequence[Event] = ()
    """All of its log."""
    message: str | None = None
    """The assistant's message; None where there is none."""
    turn: int = 0
    session: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What there is."""

    runs: Mapping[str, Kept]
    """Every run that there is."""
    effects: Sequence[Effect] = ()
    """What the flows did."""
    closed_s: Mapping[str, float] = field(default_factory=dict)
    """When the last connection of a run to what its flow needs was closed; infinite where one is open."""
