"""Stores that hold years of chats, made up straight into the store."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from penstock_server.history.importing.entries import Entry, EntryRefused, ImportedMessage
from penstock_server.history.importing.importer import Importer
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Role
from penstock_server.store.sql.databases import url
from penstock_server.store.sql.imports.writing import Imports
from penstock_server.store.sql.store import SqlStore, StoreSettings

SERVICE = "penstock"
STORE_TIMEOUT_S = 60.0
USERS = 1_000
TURNS = 50
"""How many turns a session has."""
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
PAUSE = timedelta(seconds=30)
COMMON = "service"
"""Every tenth message has it."""
CHINESE = "知识库"
PHRASE = f"请从{CHINESE}中查找答案"
"""Every hundredth message has it."""
RARE_EVERY = 1_000
"""One message in so many has a word of its own (`rare`)."""
WORDS = [f"{first}{second}" for first in ("al", "be", "ca", "do", "el", "fi", "go", "ha") for second in
         ("ba", "cor", "dim", "fen", "gul", "hop", "jin", "kel", "lom", "mar", "nix", "per")]  # fmt: skip
WORDS_A_MESSAGE = 20


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Many sessions of one length."""

    prefix: str
    count: int
    turns: int = TURNS

    def id(self, number: int) -> str:
        """The id of the session with this number."""
        return f"{self.prefix}{number:032}"

    def messages(self) -> Iterator[ImportedMessage]:
        """All their messages, session by session."""
        random = Random(self.prefix)
        for number in range(self.count):
            for turn in range(1, self.turns + 1):
                for role in Role:
                    yield self._message(number, turn, role, random)

    def _message(self, number: int, turn: int, role: Role, random: Random) -> ImportedMessage:
        ordinal = 2 * (number * self.turns + turn - 1) + role.value
        name = "question" if role is Role.USER else "answer"
        return ImportedMessage(
            place="",
            session=self.id(number),
            user=user(number),
            turn=turn,
            role=role,
            flow="chat",
            status=RunStatus.SUCCEEDED if role is Role.ASSISTANT else None,
            text_of=name,
            content={name: _text(ordinal, random)},
            create_time=FIRST + number * timedelta(minutes=5) + (2 * turn + role.value) * PAUSE,
            session_metadata={},
        )


def user(number: int) -> str:
    """Whose the session with this number is."""
    return f"user{number % USERS}"


def rare(number: int) -> str:
    """The word that only one message has."""
    return f"rare{number}"


def fill(store: str, *kinds: Sessions) -> None:
    """Puts sessions into an empty store."""
    asyncio.run(_fill(store, kinds))


async def _fill(address: str, kinds: tuple[Sessions, ...]) -> None:
    store = SqlStore(url.parse(address), StoreSettings(service=SERVICE, store_timeout_s=STORE_TIMEOUT_S))
    await store.open()
    try:
        importer = Importer(
            Imports(store.database, store.tables), dry_run=False, refused=_fail, progress=lambda counts: None
        )
        await importer.run(_entries(kinds))
    finally:
        await store.close()


async def _entries(kinds: tuple[Sessions, ...]) -> AsyncGenerator[Entry | EntryRefused]:
    for kind in kinds:
        for message in kind.messages():
            yield message


def _fail(refusal: EntryRefused) -> None:
    raise refusal


def _text(ordinal: int, random: Random) -> str:
    words = random.choices(WORDS, k=WORDS_A_MESSAGE)
    if ordinal % 10 == 0:
        words[0] = COMMON
    if ordinal % 100 == 1:
        words[1] = PHRASE
    if ordinal % RARE_EVERY == 2:
        words[2] = rare(ordinal // RARE_EVERY)
    return " ".join(words)
