"""Rows of a foreign table become messages: turns are counted, ids and times brought into form."""

import json
from collections.abc import AsyncGenerator, Callable
from collections.abc import Mapping as Values
from contextlib import aclosing
from datetime import datetime
from typing import Any

from penstock.values import InvalidValue, to_value
from penstock_server.history.importing.entries import Entry, EntryRefused, ImportedMessage
from penstock_server.history.importing.ids import session_id, user_id
from penstock_server.history.importing.mapping import ColumnPath, Mapping
from penstock_server.history.importing.spool import Said, rank, spool
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Role

IMPORTED_ID = "imported_id"
"""The entry of a session's metadata that holds what it was called, where it could not keep that as its id."""
NAME_CHARS_MAX = 1024
"""The longest name of a session: it becomes part of what its metadata may hold."""
PLACE_CHARS_MAX = 80
"""How much of a value is shown where a row is named."""


class Rows:
    """Reads rows, in whatever order they come, and tells them session by session, each in the order of time.

    A question begins a turn, and an answer joins the turn of the question before it. A row that cannot be read counts
    as one that was never there.

    Args:
        mapping: what the columns mean.
        progress: is called with the number of rows that have been read.

    Attributes:
        skipped: how many rows were left out because of their role.
    """

    def __init__(self, mapping: Mapping, progress: Callable[[int], None] = lambda count: None) -> None:
        self.skipped = 0
        self._mapping = mapping
        self._progress = progress
        self._conversation = _Conversation()

    async def entries(self, rows: AsyncGenerator[Values[str, Any]]) -> AsyncGenerator[Entry | EntryRefused]:
        """First an error for each row that cannot be read, then the messages of the others.

        Args:
            rows: the values of each row by the names of their columns; it is closed.

        Raises:
            StoreError: the rows cannot be put in order.
        """
        count = 0
        with spool() as sorted_rows:
            async with aclosing(rows):
                async for row in rows:
                    count += 1
                    try:
                        for said in self._read(row):
                            sorted_rows.add(said)
                    except EntryRefused as error:
                        yield EntryRefused(f"{self._place(row)}: {error}")
                    self._progress(count)
            for said in sorted_rows:
                yield self._message(said)

    def _place(self, row: Values[str, Any]) -> str:
        """The row by the values of the columns that find it."""
        columns = self._mapping.columns
        names = dict.fromkeys(each.column for each in (columns.session, columns.order, columns.time) if each)
        return "row " + ", ".join(f"{name}={str(row[name])[:PLACE_CHARS_MAX]!r}" for name in names)

    def _read(self, row: Values[str, Any]) -> list[Said]:
        """What a row says."""
        mapping, columns = self._mapping, self._mapping.columns
        name = _text(row, columns.session)
        if not name:
            raise EntryRefused("the session's column is empty")
        if len(name) > NAME_CHARS_MAX:
            raise EntryRefused(f"the session's name has {len(name)} characters; at most {NAME_CHARS_MAX} are kept")
        said = self._said(row)
        if said is None:
            self.skipped += 1
            return []
        session, user = session_id(name, mapping.session_prefix), user_id(_text(row, columns.user) or "")
        time, place = self._time(row), self._place(row)
        order = rank(_value(row, columns.order))
        return [
            Said(
                place=place,
                session=session,
                name="" if session == mapping.session_prefix + name else name,
                user=user,
                role=role.value,
                text=text,
                time=time,
                rank=order,
            )
            for role, text in said
        ]

    def _said(self, row: Values[str, Any]) -> list[tuple[Role, str]] | None:
        """What a row says; None for a row that is left out by its role."""
        columns, roles = self._mapping.columns, self._mapping.roles
        if columns.role is None:
            pair = ((Role.USER, columns.question), (Role.ASSISTANT, columns.answer))
            return [(role, text) for role, column in pair if (text := _text(row, column)) is not None]
        name = _text(row, columns.role) or ""
        try:
            role = roles.role(name)
        except KeyError:
            raise EntryRefused(f"nothing is said about the role {name[:80]!r}: name it under `roles`") from None
        return None if role is None else [(role, _text(row, columns.text) or "")]

    def _time(self, row: Values[str, Any]) -> datetime:
        try:
            return self._mapping.time(_value(row, self._mapping.columns.time))
        except (ValueError, OverflowError) as error:
            form = self._mapping.time_format
            raise EntryRefused(f"the time cannot be read ({error}); `time_format` is {form!r}") from None

    def _message(self, said: Said) -> ImportedMessage:
        mapping, role = self._mapping, Role(said.role)
        text_of = mapping.input if role is Role.USER else mapping.output
        turn, owner = self._conversation.add(said.session, said.user, role)
        return ImportedMessage(
            place=said.place,
            session=said.session,
            user=owner,
            turn=turn,
            role=role,
            flow=mapping.flow,
            status=RunStatus.SUCCEEDED if role is Role.ASSISTANT else None,
            text_of=text_of,
            content={text_of: said.text},
            create_time=said.time,
            session_metadata={IMPORTED_ID: said.name} if said.name else {},
        )


class _Conversation:
    """Counts the turns of one session after another, and remembers whose it is."""

    def __init__(self) -> None:
        self._session = ""
        self._owner = ""
        self._turn = 0
        self._last: Role | None = None

    def add(self, session: str, user: str, role: Role) -> tuple[int, str]:
        """The turn of the next message, and the session's owner: many tables name the assistant itself on answers."""
        if session != self._session:
            self._session, self._owner, self._turn, self._last = session, user, 0, None
        if not (role is Role.ASSISTANT and self._last is Role.USER):
            self._turn += 1
        self._last = role
        return self._turn, user if user and role is Role.USER else self._owner


def _text(row: Values[str, Any], column: ColumnPath | None) -> str | None:
    """A value as text; None for NULL."""
    value = _value(row, column)
    if value is None:
        return None
    try:
        text = value.decode() if isinstance(value, bytes) else str(value)
        to_value(text)
    except (UnicodeDecodeError, InvalidValue) as error:
        raise EntryRefused(f"the column {column.column if column else ''!r} holds no text: {error}") from None
    return text


def _value(row: Values[str, Any], column: ColumnPath | None) -> Any:
    """The value of a column, or what its path leads to; None where there is nothing."""
    if column is None:
        return None
    value = row[column.column]
    if not column.path or value is None:
        return value
    try:
        value = json.loads(value) if isinstance(value, (str, bytes)) else value
    except ValueError:
        raise EntryRefused(f"the column {column.column!r} holds no JSON, which its path asks for") from None
    for key in column.path.split("."):
        value = _entry(value, key)
    return value


def _entry(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return value.get(key)
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    return None
