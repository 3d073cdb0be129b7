"""The metadata of a call that names its session and its user (contract: Metadata and headers)."""

import re
from collections.abc import Iterable, Sequence
from contextvars import ContextVar

from penstock_server.errors import InvalidRequest
from penstock_server.ids import new_id

Metadata = Sequence[tuple[str, str | bytes]]

AUTHORIZATION = "authorization"
SESSION_ID = "chat-session-id"
USER_ID = "chat-user-id"
RUN_ID = "penstock-run-id"

current_metadata: ContextVar[Metadata] = ContextVar("penstock_metadata", default=())
"""What came with the call that the current task answers. gRPC makes it anew each time that it is asked for it."""

SESSION_ID_FORM = re.compile(r"[A-Za-z0-9_:-]{32,255}")
USER_ID_FORM = re.compile(r"(?! )[\x20-\x7e]{1,255}(?<! )")


def first(metadata: Iterable[tuple[str, str | bytes]] | None, key: str) -> str | bytes | None:
    """The first value under the key, or None."""
    for name, value in metadata or ():
        if name == key:
            return value
    return None


def session_id(metadata: Metadata | None) -> str:
    """The session that the caller names, or a new id where it names none.

    Raises:
        InvalidRequest: the id has another form than 32 to 255 characters of `A-Z a-z 0-9 _ - :`.
    """
    value = _single(metadata, SESSION_ID)
    if value is None:
        return new_id()
    if not SESSION_ID_FORM.fullmatch(value):
        raise InvalidRequest.of(
            [(SESSION_ID, f"must be 32 to 255 characters of A-Z a-z 0-9 _ - : (this one has {len(value)} characters)")]
        )
    return value


def user_id(metadata: Metadata | None) -> str:
    """The user that the caller names; empty where it names none.

    Raises:
        InvalidRequest: the id is not 1 to 255 printable ASCII characters without outer spaces.
    """
    value = _single(metadata, USER_ID)
    if value is None:
        return ""
    if not USER_ID_FORM.fullmatch(value):
        raise InvalidRequest.of(
            [(USER_ID, "must be 1 to 255 printable ASCII characters without outer spaces; percent-encode others")]
        )
    return value


def _single(metadata: Metadata | None, key: str) -> str | None:
    values = [value for name, value in metadata or () if name == key]
    if not values:
        return None
    if len(values) > 1:
        raise InvalidRequest.of([(key, "is given more than once")])
    value = values[0]
    return value if isinstance(value, str) else value.decode("latin-1")
