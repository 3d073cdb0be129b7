"""The metadata of a call that names its session and its user (contract: Metadata and headers)."""

import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType

from penstock_server.errors import InvalidRequest

Metadata = Mapping[str, str | bytes | tuple[str | bytes, ...]]
"""The metadata of a call by name; a name that is given several times has all its values."""

Pairs = tuple[tuple[str, str], ...]
"""Metadata as gRPC takes it."""

AUTHORIZATION = "authorization"
SESSION_ID = "chat-session-id"
USER_ID = "chat-user-id"
IDEMPOTENCY_KEY = "idempotency-key"
RUN_ID = "penstock-run-id"

current_metadata: ContextVar[Metadata] = ContextVar("penstock_metadata", default=MappingProxyType({}))
"""What came with the call that the current task answers."""

SESSION_ID_FORM = re.compile(r"[A-Za-z0-9_:-]{32,255}")
USER_ID_FORM = IDEMPOTENCY_KEY_FORM = re.compile(r"(?! )[\x20-\x7e]{1,255}(?<! )")


def by_name(pairs: Sequence[tuple[str, str | bytes]]) -> Metadata:
    """Metadata as gRPC gives it, by name."""
    found: dict[str, str | bytes | tuple[str | bytes, ...]] = dict(pairs)
    if len(found) < len(pairs):
        for name in found:
            values = tuple(value for key, value in pairs if key == name)
            if len(values) > 1:
                found[name] = values
    return found


def session_id(metadata: Metadata) -> str | None:
    """The session that the caller names, if it names one.

    Raises:
        InvalidRequest: the id has another form than 32 to 255 characters of `A-Z a-z 0-9 _ - :`.
    """
    value = single(metadata, SESSION_ID)
    if value is None:
        return None
    if not SESSION_ID_FORM.fullmatch(value):
        raise InvalidRequest.of(
            [(SESSION_ID, f"must be 32 to 255 characters of A-Z a-z 0-9 _ - : (this one has {len(value)} characters)")]
        )
    return value


def user_id(metadata: Metadata) -> str:
    """The user that the caller names; empty where it names none.

    Raises:
        InvalidRequest: the id is not 1 to 255 printable ASCII characters without outer spaces.
    """
    return _text(metadata, USER_ID, USER_ID_FORM)


def check_user_id(user: str, field: str) -> None:
    """Raises InvalidRequest for a user in a request's field that no call's metadata can name."""
    _check(user, field, USER_ID_FORM)


def idempotency_key(metadata: Metadata) -> str:
    """The idempotency key of the call; empty where it has none.

    Raises:
        InvalidRequest: the key is not 1 to 255 printable ASCII characters without outer spaces.
    """
    return _text(metadata, IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_FORM)


def _text(metadata: Metadata, name: str, form: re.Pattern[str]) -> str:
    value = single(metadata, name)
    if value is None:
        return ""
    _check(value, name, form)
    return value


def _check(value: str, name: str, form: re.Pattern[str]) -> None:
    if not form.fullmatch(value):
        text = "must be 1 to 255 printable ASCII characters without outer spaces; percent-encode others"
        raise InvalidRequest.of([(name, text)])


def single(metadata: Metadata, name: str) -> str | None:
    """The value of a name, or None.

    Raises:
        InvalidRequest: it is given more than once.
    """
    value = metadata.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple):
        raise InvalidRequest.of([(name, "is given more than once")])
    return value.decode("latin-1")
