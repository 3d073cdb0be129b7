"""Server-sent events of model servers, as far as they are needed: the data of each.

The form is that of the HTML standard (9.2, Server-sent events). The SDK makes a typed object of each event, which costs
six times as much as this, and much more than all else that is done for a token.
"""

from collections.abc import Iterator

EVENT_BYTES_MAX = 4 * 1024 * 1024
"""How large one event may be."""


class EventTooLarge(Exception):
    """An event is larger than `EVENT_BYTES_MAX`."""


class EventData:
    """Cuts a stream of bytes into the data of its events.

    Attributes:
        ended: whether there are no more bytes.
    """

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""
        self._data: list[bytes] = []
        self._event_bytes = 0

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The data of the events that these bytes complete.

        Raises:
            EventTooLarge: an event does not end.
        """
        for line in self._lines(received):
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
                self._event_bytes += len(line) + 1
            elif not line and self._data:
                yield self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                self._data.clear()
                self._event_bytes = 0
        if self._event_bytes + len(self._rest) > EVENT_BYTES_MAX:
            raise EventTooLarge

    def rest(self) -> Iterator[bytes]:
        """The data of a last event that lacks its empty line, as some servers end; there are no more bytes."""
        self.ended = True
        yield from self.feed(b"\n\n")

    def _lines(self, received: bytes) -> list[bytes]:
        """The lines that are complete now; they end as LF, CR LF or CR."""
        text = self._rest + received if self._rest else received
        held = b""
        if b"\r" in text:
            if text.endswith(b"\r"):  # its LF may still come
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._rest = rest + held
        return lines
