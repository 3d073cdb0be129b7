"""Reads many paced streams at once and tells how late their tokens came. A program of its own, to have its own core.

Run as `python -m benchmarks.paced_reader URL STREAMS WINDOW_S`; it prints one JSON object. The streams open one after
another. The window begins when all have been open for a while; every token that was due in it counts, and one that did
not arrive within `GRACE_S` after it counts as lost.
"""

import json
import re
import selectors
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

from benchmarks.calls import stream
from benchmarks.flows import PACE_S

OPENED_PER_S = 400
SETTLE_S = 0.7
GRACE_S = 0.5
RECEIVE_BYTES = 65_536
_DUE = re.compile(rb"(\d{9,});")


@dataclass(frozen=True, kw_only=True)
class Delays:
    """How late the tokens of a window came, in milliseconds after they were due."""

    expected: int
    arrived: int
    told: int
    """Tokens that came in all, in the window and outside of it."""
    p50_ms: float
    p99_ms: float
    reader_busy: float
    """The share of its core that this reader used; near 1 it would be the reader that is late."""


def main() -> None:
    url, streams, window_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    print(json.dumps(asdict(_Reader(url, streams, window_s).run())))


@dataclass
class _Reader:
    url: str
    streams: int
    window_s: float
    sockets: list[socket.socket] = field(default_factory=list)
    told: int = 0
    delays_ns: list[int] = field(default_factory=list)
    rests: dict[int, bytes] = field(default_factory=dict)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    window_ns: tuple[int, int] = (0, 0)

    def run(self) -> Delays:
        opening_s = self.streams / OPENED_PER_S
        start = time.monotonic()
        begin = start + opening_s + SETTLE_S
        end = begin + self.window_s
        self.window_ns = int(begin * 1e9), int(end * 1e9)
        count = int((end + GRACE_S + 1 - start) / PACE_S)
        request = stream("paced", {"count": count}).raw(self.url)
        try:
            for number in range(self.streams):
                self._receive_until(start + number / OPENED_PER_S)
                self._open(request)
            busy_s = -time.process_time()
            self._receive_until(end + GRACE_S)
            busy_s += time.process_time()
        finally:
            for connection in self.sockets:
                connection.close()
        return self._summary(busy_s / (self.window_s + SETTLE_S + GRACE_S))

    def _open(self, request: bytes) -> None:
        at = urlsplit(self.url)
        connection = socket.create_connection((at.hostname, at.port), timeout=5.0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        connection.setblocking(False)
        self.sockets.append(connection)
        self.rests[connection.fileno()] = b""
        self.selector.register(connection, selectors.EVENT_READ)

    def _receive_until(self, moment_s: float) -> None:
        while (left_s := moment_s - time.monotonic()) > 0:
            for key, _ in self.selector.select(left_s):
                self._receive(key.fileobj)  # type: ignore[arg-type]

    def _receive(self, connection: socket.socket) -> None:
        data = connection.recv(RECEIVE_BYTES)
        now_ns = time.monotonic_ns()
        if not data:
            self.selector.unregister(connection)
            return
        data = self.rests[connection.fileno()] + data
        whole = data.rfind(b"\n") + 1
        self.rests[connection.fileno()] = data[whole:]
        first_ns, last_ns = self.window_ns
        for match in _DUE.finditer(data, 0, whole):
            self.told += 1
            due_ns = int(match[1])
            if first_ns <= due_ns < last_ns:
                self.delays_ns.append(now_ns - due_ns)

    def _summary(self, busy: float) -> Delays:
        expected = max(len(self.delays_ns), int(self.streams * self.window_s / PACE_S))
        ordered = sorted(self.delays_ns)
        return Delays(
            expected=expected,
            arrived=len(ordered),
            told=self.told,
            p50_ms=_at(ordered, expected // 2),
            p99_ms=_at(ordered, expected * 99 // 100),
            reader_busy=busy,
        )


def _at(ordered: list[int], index: int) -> float:
    """A rank among all tokens; those that never arrived stand at the end."""
    return ordered[index] / 1e6 if index < len(ordered) else float("inf")


if __name__ == "__main__":
    main()
