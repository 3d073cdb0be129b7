"""What the service has acknowledged, as its callers know it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

TRIES_MAX = 6
"""How often a turn is sent. Where a store has several instances, a run that died with one of them is never answered."""


@dataclass(kw_only=True)
class Turn:
    """One question, and what became of it. Its text is like no other's."""

    text: str
    session: str
    user: str
    key: str = ""
    """Its Idempotency-Key: it may be sent again, with the same text, until it is answered."""
    tries: int = 0
    sent: int = 0
    """When it was first sent, by the ledger's clock."""
    refused: int = 0
    """How many of the tries were not acknowledged."""
    accepted: int = 0
    """When the service first acknowledged it; 0 where it has not."""
    runs: set[str] = field(default_factory=set)
    """The runs that the service named for it."""
    answers: list[str] = field(default_factory=list)
    """What it was answered, each time."""

    @property
    def finished(self) -> bool:
        """Whether the answer was acknowledged."""
        return bool(self.answers)


class Ledger:
    """Every turn that was ever sent, over all lives of the service. Its clock counts what is written down."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._clock = count(1)

    def sent(self, turn: Turn) -> None:
        """Writes down that a turn is about to be sent."""
        turn.tries += 1
        if not turn.sent:
            turn.sent = next(self._clock)
            self.turns.append(turn)

    def accepted(self, turn: Turn, run: str) -> None:
        """Writes down that the service acknowledged the turn as this run."""
        turn.runs.add(run)
        turn.accepted = turn.accepted or next(self._clock)

    def refused(self, turn: Turn) -> None:
        """Writes down that one sending of the turn was not acknowledged."""
        turn.refused += 1

    def finished(self, turn: Turn, answer: str) -> None:
        """Writes down the answer."""
        turn.answers.append(answer)

    def unanswered(self) -> Iterable[Turn]:
        """The turns that may be sent again."""
        return [turn for turn in self.turns if turn.key and not turn.finished and turn.tries < TRIES_MAX]
