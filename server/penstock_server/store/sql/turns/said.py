"""Messages that are added: their rows, and the words by which they are found."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from sqlalchemy import Connection, insert

from penstock_server.runs.events import RunStatus
from penstock_server.store.records import JsonObject, Rating, Role
from penstock_server.store.sql import documents
from penstock_server.store.sql.database import Dialect
from penstock_server.store.sql.history import words
from penstock_server.store.sql.keys import Keys
from penstock_server.store.sql.schema import Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message that is to be added to a session."""

    session: str
    session_key: int
    user: str
    """The session's owner."""
    turn: int
    role: Role
    run: str
    flow: str
    status: RunStatus | None
    text_of: str
    content: JsonObject
    input_tokens: int = 0
    output_tokens: int = 0
    time_us: int
    rating: Rating = Rating.NONE
    rating_comment: str = ""

    @property
    def text(self) -> str:
        """What was said, where that is text."""
        text = self.content.get(self.text_of)
        return text if isinstance(text, str) else ""


class Sayings:
    """Adds messages."""

    def __init__(self, tables: Tables, dialect: Dialect, keys: Keys) -> None:
        self._insert = insert(tables.messages)
        self._search = tables.search
        self._dialect = dialect
        self._keys = keys

    def add(self, connection: Connection, messages: Sequence[Said]) -> None:
        """Adds messages to sessions that the transaction has locked."""
        if not messages:
            return
        # By rising keys: FTS5 writes out what it has gathered whenever a key is smaller than the one before.
        keyed = sorted(((self._keys.next(each.time_us), each) for each in messages), key=itemgetter(0))
        connection.execute(self._insert, [_row(key, each) for key, each in keyed])
        self._dialect.index_words(connection, self._search, [(key, _words(each)) for key, each in keyed])


def _words(message: Said) -> str:
    return words.of_message(
        message.text, user=message.user, session=message.session, flow=message.flow, status=message.status
    )


def _row(key: int, message: Said) -> dict[str, object]:
    return {
        "message_key": key,
        "session_key": message.session_key,
        "turn": message.turn,
        "role": message.role.value,
        "run": message.run,
        "flow": message.flow,
        "status": message.status.value if message.status else 0,
        "text_of": message.text_of,
        "content": documents.dump(message.content),
        "input_tokens": message.input_tokens,
        "output_tokens": message.output_tokens,
        "create_time_us": message.time_us,
        "rating": message.rating.value,
        "rating_comment": message.rating_comment,
    }
