"""Rows of a foreign table become messages: turns are counted, ids and times brought into form."""

import json
from collections.abc import AsyncIterator
from collections.abc import Mapping as Values
from typing import Any

from penstock.values import InvalidValue, to_value
from penstock_server.history.importing.entries import Entry, EntryRefused, ImportedMessage
from penstock_server.history.importing.ids import session_id, user_id
from penstock_server.history.importing.mapping import ColumnPath, Mapping
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Role

IMPORTED_ID = "imported_id"
"""The entry of a session's metadata that holds what it was called, where it could not keep that as its id."""


class Rows:
    """Reads rows that come session by session, each session in the order of time.

    A question begins a turn, and an answer joins the turn of the question before it. A row that cannot be read counts
    as one that was never there.

    Attributes:
        skipped: how many rows were left out because of their role.
    """

    def __init__(self, mapping: Mapping) -> None:
        self.skipped = 0
        self._mapping = mapping
        self._conversation = _Conversation()

    async def entries(self, rows: AsyncIterator[Values[str, Any]]) -> AsyncIterator[Entry | EntryRefused]:
        """The messages of the rows; a row that cannot be read comes as the error that says why.

        Args:
            rows: the values of each row by the names of their columns.
        """
        number = 0
        async for row in rows:
            number += 1
            try:
                for message in self._messages(row, f"row {number}"):
                    yield message
            except EntryRefused as error:
                yield EntryRefused(f"row {number}: {error}")

    def _messages(self, row: Values[str, Any], place: str) -> list[ImportedMessage]:
        columns = self._mapping.columns
        name = _text(row, columns.session)
        if not name:
            raise EntryRefused("the session's column is empty")
        said = self._said(row)
        if said is None:
            self.skipped += 1
            return []
        return [self._message(row, place, name, role, text) for role, text in said]

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

    def _message(self, row: Values[str, Any], place: str, name: str, role: Role, text: str) -> ImportedMessage:
        mapping = self._mapping
        session = session_id(name, mapping.session_prefix)
        text_of = mapping.input if role is Role.USER else mapping.output
        user = user_id(_text(row, mapping.columns.user) or "")
        try:
            create_time = mapping.time(_value(row, mapping.columns.time))
        except (ValueError, OverflowError) as error:
            raise EntryRefused(f"the time cannot be read ({error}); `time_format` is {mapping.time_format!r}") from None
        turn, owner = self._conversation.add(session, user, role)
        return ImportedMessage(
            place=place,
            session=session,
            user=owner,
            turn=turn,
            role=role,
            flow=mapping.flow,
            status=RunStatus.SUCCEEDED if role is Role.ASSISTANT else None,
            text_of=text_of,
            content={text_of: text},
            create_time=create_time,
            session_metadata={} if session.endswith(name) else {IMPORTED_ID: name},
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
