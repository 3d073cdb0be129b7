"""Rows of the tables as records, and which of them a caller reaches."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

from penstock_server.errors import SessionNotFound
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import MessageRecord, Rating, Role, Scope, SessionRecord
from penstock_server.store.sql import documents
from penstock_server.store.sql.keys import from_us


def find_session(connection: Connection, sessions: Table, session: str, scope: Scope, *, lock: bool = False) -> Any:
    """The row of a session that the scope reaches.

    Args:
        lock: keep others from writing to the session until the transaction ends.

    Raises:
        SessionNotFound: there is none, or it is another user's.
    """
    statement = select(sessions).where(sessions.c.session == session, *reachable(sessions, scope))
    row = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    if row is None:
        raise SessionNotFound.of(session)
    return row


def reachable(sessions: Table, scope: Scope) -> Sequence[ColumnElement[bool]]:
    """What a session has to be for a caller to reach it."""
    return [sessions.c.user == scope.user] if scope.user else []


def session_record(row: Any) -> SessionRecord:
    """A row of the sessions' table as a record."""
    return SessionRecord(
        session_key=row.session_key,
        session=row.session,
        user=row.user,
        flow=row.flow,
        title=row.title,
        metadata=documents.load(row.metadata),
        message_count=row.message_count,
        create_time=from_us(row.create_time_us),
        update_time=from_us(row.update_time_us),
        retention_days=row.retention_days,
    )


def message_record(row: Any, session: str, user: str) -> MessageRecord:
    """A row of the messages' table as a record of this session and its owner."""
    return MessageRecord(
        message_key=row.message_key,
        session=session,
        user=user,
        turn=row.turn,
        role=Role(row.role),
        text_of=row.text_of,
        content=documents.load(row.content),
        run=row.run,
        flow=row.flow,
        status=RunStatus(row.status) if row.status else None,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        create_time=from_us(row.create_time_us),
        rating=Rating(row.rating),
        rating_comment=row.rating_comment,
    )


def matching(messages: Table, *, flow: str, status: RunStatus | None) -> list[ColumnElement[bool]]:
    """What a message has to be to be one of this flow, and of a run that ended so."""
    conditions: list[ColumnElement[bool]] = []
    if flow:
        conditions.append(messages.c.flow == flow)
    if status is not None:
        conditions.append(messages.c.status == status.value)
    return conditions


def content_chars(row: Any) -> int:
    """How much a message holds."""
    return len(row.content)


def session_chars(row: Any) -> int:
    """How much a session holds."""
    return len(row.metadata) + len(row.title)
