"""What requests of several services say in the same words."""

from penstock_server import metadata
from penstock_server.errors import InvalidRequest
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Scope


def scope(wanted: str = "") -> Scope:
    """Whose sessions the call reaches: those of the user in its metadata, or those of the user that is asked for."""
    caller = metadata.user_id(metadata.current_metadata.get())
    if wanted:
        metadata.check_user_id(wanted, "user")
        if caller and wanted != caller:
            raise InvalidRequest.of([("user", "is not the user that the call's Chat-User-Id names")])
    return Scope(user=wanted or caller)


def required(text: str, field: str) -> str:
    """A field that must be given. Raises InvalidRequest."""
    if not text:
        raise InvalidRequest.of([(field, "is required")])
    return text


def status(status: int) -> RunStatus | None:
    """The status that is asked for, if any is. Raises InvalidRequest."""
    try:
        return RunStatus(status) if status else None
    except ValueError:
        raise InvalidRequest.of([("status", "is not the status of a run")]) from None
