"""Who says what next: many sessions, some with a user, several turns each."""

from dataclasses import dataclass
from random import Random

from tests.robustness.ledger import Turn

LIVE_SESSIONS = 96
"""So many that turns of one session meet now and then, and do not queue up."""
TURNS_MIN, TURNS_MAX = 3, 20
KEYED_SHARE = 0.3
USER_SHARE = 0.5
ID_BITS = 160


@dataclass(slots=True, kw_only=True)
class _Session:
    session: str
    user: str
    turns_left: int


class Conversations:
    """Makes up turns. The same random numbers make the same ones.

    A session may be picked again while its last turn is under way, so that turns of one session meet.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._live = [self._begin() for _ in range(LIVE_SESSIONS)]
        self._made = 0

    def next(self) -> Turn:
        """The next question of some session."""
        index = self._random.randrange(LIVE_SESSIONS)
        session = self._live[index]
        session.turns_left -= 1
        if not session.turns_left:
            self._live[index] = self._begin()
        self._made += 1
        key = self._id("key") if self._random.random() < KEYED_SHARE else ""
        return Turn(text=f"question {self._made}", session=session.session, user=session.user, key=key)

    def _begin(self) -> _Session:
        user = self._id("user") if self._random.random() < USER_SHARE else ""
        turns = self._random.randint(TURNS_MIN, TURNS_MAX)
        return _Session(session=self._id("session"), user=user, turns_left=turns)

    def _id(self, kind: str) -> str:
        return f"{kind}-{self._random.getrandbits(ID_BITS):040x}"
