"""What a client costs that asks for an endless stream and then reads nothing, and whether it is dropped."""

import json
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import http2
from benchmarks.calls import WrongAnswer, run, stream
from benchmarks.cores import PROXY_CORE, SERVER_CORE
from benchmarks.sample import Sample
from benchmarks.subjects import Fleet, Subject

CLIENTS = 50
WRITE_TIMEOUT_S = 4
"""How long the services here wait for a reader that takes nothing (`write_timeout_s`)."""
GROWTH_S = 3.0
"""How long memory is watched while the clients stall; shorter than the timeout."""
DROP_TIMEOUT_S = WRITE_TIMEOUT_S + 10.0
POLL_S = 0.1
ENVIRONMENT = {"PENSTOCK_WRITE_TIMEOUT_S": str(WRITE_TIMEOUT_S)}


@dataclass(frozen=True, kw_only=True)
class Stalled:
    """KiB of resident memory for each of `CLIENTS` stalled readers, at its highest, in a fresh process.

    A process that once had many stalled readers has memory to reuse, so each measurement starts the subject anew.
    """

    name: str
    title: str
    subjects: tuple[str, ...]
    is_grpc: bool
    unit: str = "KiB a client"

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. Raises WrongAnswer when the clients are not dropped."""
        with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder), ENVIRONMENT) as fresh, ExitStack() as stack:
            target = fresh[subject]
            cores = target.pin((SERVER_CORE, PROXY_CORE))
            self._warm_up(target)
            before = target.rss_bytes()
            start = time.monotonic()
            for _ in range(CLIENTS):
                stack.callback(self._open(target).close)
            _until(lambda: _running(target) == CLIENTS, start + GROWTH_S / 2, "not all streams began")
            highest = before
            while time.monotonic() < start + GROWTH_S:
                highest = max(highest, target.rss_bytes())
                time.sleep(POLL_S)
            _until(lambda: _running(target) == 0, start + DROP_TIMEOUT_S, "stalled clients were not dropped")
            dropped_s = time.monotonic() - start
        return Sample(
            value=(highest - before) / 1024 / CLIENTS,
            details={"dropped_s": dropped_s, "write_timeout_s": WRITE_TIMEOUT_S},
            cores=cores,
        )

    def _warm_up(self, target: Subject) -> None:
        """One client that reads a little and leaves, so that what the code itself needs is there."""
        connection = self._open(target)
        for _ in range(20):
            connection.recv(65_536)
        connection.close()
        _until(lambda: _running(target) == 0, time.monotonic() + DROP_TIMEOUT_S, "a client's leaving went unnoticed")

    def _open(self, target: Subject) -> socket.socket:
        call = stream("endless", {})
        at = urlsplit(f"http://{target.grpc}" if self.is_grpc else target.http)
        connection = socket.create_connection((at.hostname, at.port), timeout=5.0)
        connection.sendall(http2.invoke_stream(at.netloc, "endless") if self.is_grpc else call.raw(target.http))
        return connection


def _running(target: Subject) -> int:
    """How many endless flows execute, by the flow that counts them."""
    return int(json.loads(run("running", {}).ask(target))["outputs"]["output"])


def _until(true: Callable[[], bool], moment_s: float, otherwise: str) -> None:
    while not true():
        if time.monotonic() > moment_s:
            raise WrongAnswer(otherwise)
        time.sleep(POLL_S)
