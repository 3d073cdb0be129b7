"""Server-sent events of model servers, as far as they need them: the data of each.

The form is that of the HTML standard (9.2, Server-sent events). Parsing them here costs a tenth of what the SDK's
typed events do, and a token is little work apart from that.
"""

from collections.abc import Iterator

EVENT_BYTES_MAX = 4 * 1024 * 1024
"""How large one event may be."""


class EventTooLarge(Exception):
    """An event is larger than `EVENT_BYTES_MAX`."""


class EventData:
    """Cuts a stream of bytes into the data of its events."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The data of the events that these bytes complete.

        Raises:
            EventTooLarge: an event does not end.
        """
        text = self._rest + received if self._rest else received
        if b"\r" in text:
            held = text.endswith(b"\r")  # the second half of a line's end may still come
            text = text[: -1 if held else None].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            *lines, rest = text.split(b"\n")
            self._rest = rest + b"\r" if held else rest
        else:
            *lines, self._rest = text.split(b"\n")
        if len(self._rest) + sum(map(len, self._data)) > EVENT_BYTES_MAX:
            raise EventTooLarge
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and self._data:
                yield self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                self._data.clear()

    def rest(self) -> Iterator[bytes]:
        """The data of a last event that lacks its empty line, as some servers end."""
        yield from self.feed(b"\n\n")
