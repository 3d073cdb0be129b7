"""What is stored, and what is asked of the store: plain values, without any database's terms.

Identifiers are the caller's, compared byte for byte. An absent user is the empty string. Times are UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Generic, TypeVar

from penstock_server.errors import Failure
from penstock_server.flows.flow import NodeRecord
from penstock_server.runs.events import Event, OnBusy, OnDisconnect, RunFinished, RunStatus

JsonObject = Mapping[str, object]
T = TypeVar("T")


class Role(IntEnum):
    """Who said a message; names and numbers are those of `penstock.v1.Message.Role`."""

    USER = 1
    ASSISTANT = 2


class Rating(IntEnum):
    """What a reader thinks of an answer; names and numbers are those of `penstock.v1.Message.Rating`."""

    NONE = 0
    LIKE = 1
    DISLIKE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The user's half of a turn."""

    content: JsonObject
    """The run's inputs, without its history."""
    text_of: str
    """The input that is the text: the flow's chat input."""
    history_rounds_max: int
    """How many completed rounds of the session the flow is to get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """What makes a call safe to repeat."""

    key: str
    principal: str
    request_digest: bytes
    """SHA-256 of the request as it was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """A run that is to be accepted."""

    run: str
    flow: str
    snapshot: str
    session: str
    session_is_new: bool
    """The server has just made the session's id up, so no other call can know it."""
    user: str
    create_time: datetime
    inputs: JsonObject
    question: Question | None
    """What a chat flow's run adds to its session; None for a run without a turn."""
    idempotency: Idempotency | None = None
    stored: bool = True
    """Whether anything is written at all. If not, the session is checked, and its rounds are read."""
    on_busy: OnBusy = OnBusy.QUEUE
    on_disconnect: OnDisconnect = OnDisconnect.CANCEL
    queued: bool = False
    """Whether it has to wait although its session is free: the instance executes as many runs as it may."""
    session_queue_max: int = 16
    """How many runs of one session may wait."""
    sequence_reserved: int = 0
    """Up to which number the owner may send events before it reserves more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A completed turn, as a later run of the session is told of it."""

    flow: str
    """The flow that answered; inputs and outputs have its names."""
    inputs: JsonObject
    outputs: JsonObject
    question_of: str
    """The input that is the question's text."""
    answer_of: str
    """The output that is the answer's text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A run that was accepted: what its end must tell again, and what it starts with."""

    run_key: int = 0
    session_key: int = 0
    turn: int = 0
    """The run's turn in its session; 0 without one."""
    attempt: int = 1
    """Which execution of the run this is. A write by another attempt is refused."""
    rounds: Sequence[Round] = ()
    """The latest completed rounds of the session, the oldest first. A run that waits gets them when it starts."""
    status: RunStatus = RunStatus.RUNNING
    """RUNNING, or QUEUED where the run has to wait."""
    interrupts: Sequence[str] = ()
    """The runs of its session that were asked to end because this one came (`OnBusy.INTERRUPT`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A queued run that would begin to execute."""

    accepted: Accepted
    history_rounds_max: int
    start_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Appending:
    """Events that are to be added to a run's log."""

    accepted: Accepted
    events: Sequence[Event]
    """Without gaps, in order; those that the log has already are not added again. None only reserves."""
    sequence_reserved: int
    """Up to which number the owner may send events from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A run that has ended."""

    run: str
    session: str
    accepted: Accepted
    status: RunStatus
    outputs: JsonObject
    """What the flow returned; of a run that did not succeed, what it had said until then."""
    text_of: str
    """The output that is the answer's text: the flow's chat output. Empty without a turn."""
    flow: str
    user: str
    error: Failure | None
    nodes: Sequence[NodeRecord]
    input_tokens: int
    output_tokens: int
    start_time: datetime | None
    end_time: datetime
    last_sequence: int
    """The number of the run's terminal event."""
    events: Sequence[Event] = ()
    """What the log may not have yet, without the terminal event; what it has already is not added again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """A part of a run's log."""

    events: Sequence[Event]
    """What follows the position that was asked for, without gaps."""
    end: RunFinished | None
    """The terminal event, where these are the last events before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A run whose owner died, taken over."""

    record: "RunRecord"
    accepted: Accepted
    """With the attempt of its new owner."""
    on_disconnect: OnDisconnect
    sequence_reserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Errands:
    """What others want of an instance, for the runs that it owns."""

    cancel: Sequence[str]
    """Runs that somebody asked to end."""
    start: Sequence[str]
    """Queued runs with no live run of their session before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A stored run; the fields are those of `penstock.v1.Run`."""

    run: str
    flow: str
    session: str
    user: str
    status: RunStatus
    inputs: JsonObject
    outputs: JsonObject
    error: Failure | None
    nodes: Sequence[NodeRecord]
    input_tokens: int
    output_tokens: int
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    snapshot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A stored session; the fields are those of `penstock.v1.Session`."""

    session_key: int
    session: str
    user: str
    flow: str
    title: str
    metadata: JsonObject
    message_count: int
    create_time: datetime
    update_time: datetime
    retention_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """A stored message; the fields are those of `penstock.v1.Message`."""

    message_key: int
    session: str
    user: str
    turn: int
    role: Role
    text_of: str
    """The entry of `content` that is the text."""
    content: JsonObject
    run: str
    flow: str
    status: RunStatus | None
    input_tokens: int
    output_tokens: int
    create_time: datetime
    rating: Rating
    rating_comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose sessions a call reaches (contract: Sessions and users)."""

    user: str = ""
    """The user that the caller names; empty where it names none, and reaches every session."""

    def reaches(self, owner: str) -> bool:
        """Whether the call reaches the sessions of this owner."""
        return not self.user or self.user == owner


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange:
    """From `start` on, and before `end`; None is open."""

    start: datetime | None = None
    end: datetime | None = None


class SessionOrder(IntEnum):
    """How sessions follow each other."""

    NEWEST = 1
    """By creation, the newest first."""
    OLDEST = 2
    """By creation, the oldest first."""
    LAST_UPDATED = 3
    """By the last update, the latest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Which sessions are asked for; an empty text is no condition."""

    scope: Scope
    flow: str = ""
    updated: TimeRange = field(default_factory=TimeRange)
    order: SessionOrder = SessionOrder.NEWEST


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages of a session are asked for; an empty text is no condition."""

    scope: Scope
    session: str
    flow: str = ""
    said: TimeRange = field(default_factory=TimeRange)
    status: RunStatus | None = None
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are asked for; an empty text is no condition."""

    scope: Scope
    session: str = ""
    flow: str = ""
    status: RunStatus | None = None
    accepted: TimeRange = field(default_factory=TimeRange)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFilter:
    """Which messages are looked for; an empty text is no condition."""

    scope: Scope
    query: str
    """The words that the text must hold."""
    session: str = ""
    flow: str = ""
    said: TimeRange = field(default_factory=TimeRange)
    status: RunStatus | None = None


Cursor = tuple[int, ...]
"""Where a page ended: the sort keys of its last row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """What a call returns of many."""

    items: Sequence[T]
    next: Cursor | None
    """Where the next page begins; None on the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChange:
    """What is to change in a session; None leaves it as it is."""

    title: str | None = None
    metadata: JsonObject | None = None
    retention_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """How much was removed."""

    sessions: int = 0
    messages: int = 0
    runs: int = 0

    def __add__(self, other: "Erased") -> "Erased":
        return Erased(
            sessions=self.sessions + other.sessions,
            messages=self.messages + other.messages,
            runs=self.runs + other.runs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """How much the store holds."""

    sessions: int
    messages: int
    runs: int
    size_bytes: int
    """On disk, for this service's tables; of the whole file with SQLite."""
