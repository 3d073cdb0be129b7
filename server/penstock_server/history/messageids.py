"""Ids of messages: `3-user`, `3-assistant`. Callers take them as they are."""

import re

from penstock_server.errors import MessageNotFound
from penstock_server.store.records import Role

TURN_MAX = 2**31 - 1
_FORM = re.compile(r"([1-9][0-9]{0,9})-(user|assistant)")


def message_id(turn: int, role: Role) -> str:
    """The id of a message, unique in its session."""
    return f"{turn}-{role.name.lower()}"


def parsed(message: str) -> tuple[int, Role] | None:
    """The turn and the role of a message; None where the id is one that no message has."""
    found = _FORM.fullmatch(message)
    if found is None or int(found[1]) > TURN_MAX:
        return None
    return int(found[1]), Role[found[2].upper()]


def not_found(message: str, session: str) -> MessageNotFound:
    """The failure of a call that names a message which is not there."""
    text = f"there is no message {message!r} in the session {session!r}"
    return MessageNotFound(text, metadata={"message": message, "session": session})
