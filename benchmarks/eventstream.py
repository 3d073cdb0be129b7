"""A stream of server-sent events, read from its socket as it comes."""

import re
import socket
from urllib.parse import urlsplit

from benchmarks.calls import WrongAnswer
from benchmarks.subjects import TOKEN

TIMEOUT_S = 30.0
RECEIVE_BYTES = 65_536
OK = b"HTTP/1.1 200 "
TERMINAL = re.compile(rb"event: (?:done|error)\n(?:id: \d+\n)?data: .*\n")
"""How a stream ends, its last data included."""
_RUN = re.compile(rb"(?i)penstock-run-id: (\S+)\r\n")
_ID = re.compile(rb"id: (\d+)\n")


class EventStream:
    """An open stream; it is left by closing it.

    Args:
        url: the base URL of the service.
        request: the bytes of the request.
    """

    def __init__(self, url: str, request: bytes) -> None:
        at = urlsplit(url)
        self._connection = socket.create_connection((at.hostname, at.port), timeout=TIMEOUT_S)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sendall(request)
        self.received = b""

    def until(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        """Reads until something that matches has come.

        Raises:
            WrongAnswer: the stream was refused, or ended before.
        """
        while (match := pattern.search(self.received)) is None:
            data = self._connection.recv(RECEIVE_BYTES)
            self.received += data
            if not data or not self.received.startswith(OK[: len(self.received)]):
                raise WrongAnswer(f"no {pattern.pattern!r} in {self.received[-500:]!r}")
        return match

    def run(self) -> str:
        """The run's id, once the call is accepted."""
        return self.until(_RUN)[1].decode()

    def first_id(self) -> int:
        """The number of the first event, once it is there."""
        return int(self.until(_ID)[1])

    def close(self) -> None:
        """Leaves."""
        self._connection.close()


def watch(url: str, run: str, *, after: int = 0) -> EventStream:
    """Follows a run, from behind an event on."""
    lines = [
        f"GET /v1/runs/{run}:watch HTTP/1.1",
        f"host: {urlsplit(url).netloc}",
        "accept: text/event-stream",
        f"authorization: Bearer {TOKEN}",
        f"last-event-id: {after}",
    ]
    return EventStream(url, "\r\n".join(lines).encode() + b"\r\n\r\n")
