"""Where a stream begins: behind the last entry that its caller has."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from penstock_bridge.binding import InvalidBinding, scalar_field
from penstock_bridge.errors import Problem, invalid_request
from penstock_bridge.methods import Method
from penstock_bridge.request import Request

LAST_EVENT_ID = "Last-Event-ID"
"""What a browser's EventSource sends when it connects again (WHATWG HTML §9.2)."""

_DIGITS_MAX = 10
_NUMBER_MAX = 2**31 - 1


def check_cursor(method: Method) -> None:
    """Sees to it that a method's `resumes_after` names a field that can hold the number of an entry.

    Raises:
        InvalidBinding: it does not, or the method has no stream to begin anywhere in.
    """
    if not method.resumes_after:
        return
    shown = f"{method.path}: resumes_after"
    if not method.streams:
        raise InvalidBinding(f"{shown} is for streams")
    if scalar_field(method.input, (method.resumes_after,), shown).type != FieldDescriptor.TYPE_INT32:
        raise InvalidBinding(f"{shown}: {method.resumes_after} is no int32")


def resume(request: Request, message: Any, field: str) -> int:
    """Sets the field to what the header says, and returns the number behind which the stream begins.

    The header comes before a parameter: EventSource repeats the address that it was given, whatever it has read since,
    and says in the header how far it came.

    Raises:
        Problem: INVALID_REQUEST, the header is no number of an entry, or is given twice.
    """
    values = request.headers.getall(LAST_EVENT_ID, ())
    if len(values) > 1:
        raise _wrong("is given twice")
    if values and values[0]:
        setattr(message, field, _number(values[0]))
    return int(getattr(message, field))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX and int(text) <= _NUMBER_MAX):
        raise _wrong(f"must be the id of an event, a whole number from 0 to {_NUMBER_MAX}")
    return int(text)


def _wrong(why: str) -> Problem:
    return invalid_request(f"The header {LAST_EVENT_ID} {why}", violations=[(LAST_EVENT_ID, why)])
