"""What is asked, and what becomes of it: made up from a seed, call by call, whatever the service does.

Each call has random numbers of its own. So the same seed makes the same calls, however far a campaign gets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

from penstock.v1.flow_pb2 import InvokeOptions

SESSIONS = 14
SESSION_CALLS = 240
"""After so many calls, sessions are left for new ones."""
CHAT_SHARE = 0.7
KEYED_SHARE = 0.5
LENGTHS: Sequence[tuple[int, int, int]] = ((3, 2, 0), (4, 8, 20), (4, 16, 50), (2, 60, 50))
"""How often, how many tokens, and milliseconds between two of them."""


class How(Enum):
    """How the flow is called."""

    STREAM = 1
    UNARY = 2
    BACKGROUND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """Something that somebody does a while after a call was sent or accepted, at an instance of his choice."""

    after_s: float
    at: int
    back: int = 0
    """Of somebody who watches: how many events before the last that was told he begins; 1000 is the beginning."""
    simple: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A call."""

    number: int
    how: How
    at: int
    """A number that chooses the instance, by its remainder."""
    flow: str
    session: str
    key: str
    tokens: int
    pace_ms: int
    on_busy: int
    simple: bool = False
    leaves_s: float | None = None
    """When the caller goes away."""
    repeats: Sequence[Later] = ()
    watchers: Sequence[Later] = ()
    cancel: Later | None = None

    @property
    def question(self) -> str:
        """What no other call asks."""
        return f"q{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a campaign does.

    Args:
        given: fixed fields of every call, for campaigns that are after something particular.
    """

    seed: int
    given: dict[str, Any]

    def call(self, number: int) -> Planned:
        """The call of this number, counted from 1."""
        random = Random(f"{self.seed}/call/{number}")
        how = random.choices(list(How), (6, 3, 1))[0]
        _, tokens, pace_ms = random.choices(LENGTHS, [weight for weight, *_ in LENGTHS])[0]
        keyed = random.random() < KEYED_SHARE
        chosen: dict[str, Any] = {
            "how": how,
            "at": random.randrange(2),
            "flow": "chat" if random.random() < CHAT_SHARE else "tell",
            "session": f"session-{self.seed}-{number // SESSION_CALLS}-{random.randrange(SESSIONS)}".ljust(40, "-"),
            "key": f"key-{self.seed}-{number}" if keyed else "",
            "tokens": tokens,
            "pace_ms": pace_ms,
            "on_busy": random.choices((InvokeOptions.QUEUE, InvokeOptions.REJECT, InvokeOptions.INTERRUPT), (16, 1, 1))[
                0
            ],
            "simple": random.random() < 0.2,
            "leaves_s": random.uniform(0.0, 0.8) if random.random() < 0.1 else None,
            "repeats": [_later(random, 1.0) for _ in range(random.choice((1, 1, 2)))] if keyed else (),
            "watchers": [_later(random, 0.6) for _ in range(random.choice((0, 0, 1, 2)))],
            "cancel": _later(random, 1.0) if random.random() < 0.15 else None,
        }
        return Planned(number=number, **(chosen | self.given))

    def faults(self) -> Random:
        """What chooses the faults."""
        return Random(f"{self.seed}/faults")


def _later(random: Random, until_s: float) -> Later:
    """At once, every third time, so that the two may meet."""
    return Later(
        after_s=random.choice((0.0, random.uniform(0, until_s), random.uniform(0, until_s))),
        at=random.randrange(2),
        back=random.choice((0, 0, 1, 5, 1000)),
        simple=random.random() < 0.2,
    )
