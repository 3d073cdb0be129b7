"""What an import brings: sessions and messages of another service, or of this one at another time."""

from dataclasses import dataclass
from datetime import datetime

from penstock_server.runs.events import RunStatus
from penstock_server.store.records import JsonObject, Rating, Role


class EntryRefused(ValueError):
    """A line or a row that cannot be imported; the text names it and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSession:
    """A session. Its messages follow, before any of another session."""

    place: str
    """Where it stands in what is imported: `line 12`."""
    session: str
    user: str
    flow: str
    title: str = ""
    """Empty for the beginning of the first question."""
    metadata: JsonObject
    create_time: datetime
    update_time: datetime
    retention_days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedMessage:
    """A message. Its place in its session, and so what it is when it comes again, is its turn and its role."""

    place: str
    session: str
    user: str
    turn: int
    role: Role
    flow: str
    status: RunStatus | None
    text_of: str
    content: JsonObject
    input_tokens: int = 0
    output_tokens: int = 0
    create_time: datetime
    rating: Rating = Rating.NONE
    rating_comment: str = ""
    session_metadata: JsonObject
    """What a session gets that does not exist yet."""

    @property
    def text(self) -> str:
        """What was said, where that is text."""
        text = self.content.get(self.text_of)
        return text if isinstance(text, str) else ""


Entry = ImportedSession | ImportedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a batch of entries."""

    sessions: tuple[str, ...] = ()
    """The sessions that were new."""
    messages: int = 0
    """How many messages were new."""
    present: int = 0
    """How many messages were there already."""
    refused: tuple[EntryRefused, ...] = ()
    """The entries that contradict what is there."""
