"""One event of a stream as text: SSE (WHATWG HTML §9.2) or NDJSON."""

from collections.abc import Callable

from penstock_bridge.negotiation import NDJSON, SSE

Frame = Callable[[str, int, bytes], bytes]
"""Name (empty for a plain message), id (0 for none) and JSON data to the bytes that are sent."""

PING: dict[str, bytes] = {SSE: b": ping\n\n", NDJSON: b""}
"""What is sent into a silence. NDJSON has no comments, and a line that is no object would break its readers."""

MESSAGE = "message"
"""The name of an event without one: SSE's readers assume it, NDJSON's are told."""


def sse(name: str, id: int, data: bytes) -> bytes:
    """`event:` and `id:` where there are such, `data:`, and a blank line. The data is JSON, so it is one line."""
    if not name and id:
        return b"id: %d\ndata: %b\n\n" % (id, data)
    event = b"event: %b\n" % name.encode() if name else b""
    number = b"id: %d\n" % id if id else b""
    return b"%b%bdata: %b\n\n" % (event, number, data)


def ndjson(name: str, id: int, data: bytes) -> bytes:
    """One object a line: `{"event", "id", "data"}`; an id that there is not is null."""
    number = b"%d" % id if id else b"null"
    return b'{"event":"%b","id":%b,"data":%b}\n' % ((name or MESSAGE).encode(), number, data)


def note(text: str) -> bytes:
    """A comment, for people who look at a stream."""
    return b": %b\n\n" % " ".join(text.split()).encode()


NOTES: dict[str, Callable[[str], bytes]] = {SSE: note, NDJSON: lambda _: b""}
"""What tells people something that is no event."""

FRAMES: dict[str, Frame] = {SSE: sse, NDJSON: ndjson}
"""The form of an event in each streaming media type."""
