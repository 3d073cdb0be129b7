"""What the service adds to the time that a flow itself takes to its first token, for one client on an idle service."""

import re
import socket
import statistics
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.calls import WrongAnswer, stream
from benchmarks.cores import PROXY_CORE, SERVER_CORE
from benchmarks.sample import Sample
from benchmarks.subjects import Fleet

CALLS = 50
FLOW_DELAY_S = 0.02
PAUSE_S = 0.01
TIMEOUT_S = 5.0
_STAMPS = re.compile(rb"(\d{9,});(\d{9,})")


@dataclass(frozen=True, kw_only=True)
class FirstEvent:
    """Milliseconds from the request's last byte to the first event's arrival, less the flow's own time; the median."""

    name: str
    title: str
    subjects: tuple[str, ...]
    unit: str = "ms"

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. One connection is kept; the calls follow one another with a pause."""
        target = fleet[subject]
        cores = target.pin((SERVER_CORE, PROXY_CORE))
        at = urlsplit(target.http)
        request = stream("stamped", {"delay_s": FLOW_DELAY_S}).raw(target.http)
        with socket.create_connection((at.hostname, at.port), timeout=TIMEOUT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            added_ms = sorted(_added_ms(connection, request) for _ in range(CALLS))
        details = {"p90_ms": added_ms[CALLS * 9 // 10], "max_ms": added_ms[-1]}
        return Sample(value=statistics.median(added_ms), details=details, cores=cores)


def _added_ms(connection: socket.socket, request: bytes) -> float:
    time.sleep(PAUSE_S)
    sent_ns = time.monotonic_ns()
    connection.sendall(request)
    received = b""
    arrived_ns = 0
    while not received.endswith(b"\r\n0\r\n\r\n"):
        data = connection.recv(65_536)
        received += data
        if not data:
            raise WrongAnswer(f"the stream was cut: {received!r}")
        if not arrived_ns and _STAMPS.search(received):
            arrived_ns = time.monotonic_ns()
    stamps = _STAMPS.search(received)
    if stamps is None:
        raise WrongAnswer(f"no token in {received!r}")
    return (arrived_ns - sent_ns - (int(stamps[2]) - int(stamps[1]))) / 1e6
