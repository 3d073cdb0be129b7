"""A flow with one LLM node beside calling the same model server with the `openai` SDK alone.

The flow, or the SDK, has the first core for itself; the model server shares the other one with the load.
"""

import json
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from benchmarks.calls import Call, WrongAnswer, stream
from benchmarks.cores import PROXY_CORE, SERVER_CORE
from benchmarks.process import ROOT
from benchmarks.sample import Sample
from benchmarks.subjects import LLM, SDK, Fleet
from benchmarks.throughput import Throughput

TOKENS = 200
STREAMS = 32
FIRST_CALLS = 50
CANCELS = 20
PAUSE_S = 0.01
TIMEOUT_S = 10.0
LEFT_TIMEOUT_S = 2.0
_TOKEN = re.compile(rb'"answer": ?"t0')


def ask(model: str) -> Call:
    """The call of the flow with an LLM node."""
    return stream("ask", {"model": model})


@dataclass(frozen=True, kw_only=True)
class ModelStreams:
    """Tokens/s over `STREAMS` streams at once."""

    name: str
    title: str
    seconds: float
    unit: str = "tokens/s"
    subjects: tuple[str, ...] = (SDK, LLM)

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`."""
        model = fleet.model_server()
        model.pin(PROXY_CORE)
        if subject == SDK:
            found = _sdk(fleet, "streams", f"count-{TOKENS}", str(self.seconds), str(STREAMS))
            return Sample(value=found["tokens_per_s"], cores={"sdk": SERVER_CORE, "model": PROXY_CORE})
        flow = Throughput(
            name=self.name,
            title=self.title,
            unit=self.unit,
            call=replace(ask(f"count-{TOKENS}"), check=_counts, units=TOKENS),
            subjects=(LLM,),
            connections=STREAMS,
            seconds=self.seconds,
        )
        return flow.measure(fleet, subject)


@dataclass(frozen=True, kw_only=True)
class FirstToken:
    """Milliseconds that the flow adds to the time that the SDK takes to the first token, on an idle machine."""

    name: str
    title: str
    unit: str = "ms"
    subjects: tuple[str, ...] = (LLM,)

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`."""
        target = fleet[subject]
        fleet.model_server().pin(PROXY_CORE)
        cores = target.pin((SERVER_CORE,))
        sdk_ms = _sdk(fleet, "first", "count-20", str(FIRST_CALLS))["first_token_ms"]
        request = ask("count-20").raw(target.http)
        with _connected(target.http) as connection:
            flow_ms = statistics.median(_first_ms(connection, request) for _ in range(FIRST_CALLS))
        return Sample(value=flow_ms - sdk_ms, details={"sdk_ms": sdk_ms, "flow_ms": flow_ms}, cores=cores)


@dataclass(frozen=True, kw_only=True)
class UpstreamClosed:
    """Milliseconds from a caller's leaving to the end of the connection to the model; the longest of `CANCELS`."""

    name: str
    title: str
    unit: str = "ms"
    subjects: tuple[str, ...] = (LLM,)

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`."""
        target = fleet[subject]
        cores = target.pin((SERVER_CORE,))
        fleet.model_server().pin(PROXY_CORE)
        delays_ms = sorted(_closed_ms(fleet, target.http) for _ in range(CANCELS))
        return Sample(value=delays_ms[-1], details={"median_ms": statistics.median(delays_ms)}, cores=cores)


def _sdk(fleet: Fleet, *arguments: str) -> dict[str, float]:
    url, program = fleet.model_url(), "benchmarks.baselines.openai_sdk"
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", program, url, *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return dict(json.loads(result.stdout))


def _connected(url: str) -> socket.socket:
    at = urlsplit(url)
    connection = socket.create_connection((at.hostname, at.port), timeout=TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _first_ms(connection: socket.socket, request: bytes) -> float:
    time.sleep(PAUSE_S)
    sent_s = time.monotonic()
    connection.sendall(request)
    received, first_s = b"", 0.0
    while not received.endswith(b"\r\n0\r\n\r\n"):
        data = connection.recv(65_536)
        if not data:
            raise WrongAnswer(f"the stream was cut: {received!r}")
        received += data
        if not first_s and _TOKEN.search(received):
            first_s = time.monotonic()
    if not first_s:
        raise WrongAnswer(f"no token in {received!r}")
    return (first_s - sent_s) * 1000


def _closed_ms(fleet: Fleet, url: str) -> float:
    """Leaves in the middle of a stream, and asks the model server when it noticed, by the clock that both share."""
    connection = _connected(url)
    connection.sendall(ask("count-1000-at-50").raw(url))
    received = b""
    while not _TOKEN.search(received):
        received += connection.recv(65_536)
    left_s = time.monotonic()
    connection.close()
    while time.monotonic() < left_s + LEFT_TIMEOUT_S:
        time.sleep(0.02)
        noticed_s: float | None = _last_seen(fleet)["left_at"]
        if noticed_s is not None:
            return (noticed_s - left_s) * 1000
    raise WrongAnswer("the connection to the model stayed open")


def _last_seen(fleet: Fleet) -> dict[str, Any]:
    with urllib.request.urlopen(fleet.model_url().removesuffix("/v1") + "/seen") as answer:
        return dict(json.load(answer)[-1])


def _counts(body: bytes) -> None:
    data = [json.loads(line[5:]) for line in body.decode().splitlines() if line.startswith("data:")]
    found = "".join(str(frame.get("answer", "")) for frame in data if isinstance(frame, dict))
    wanted = " ".join(f"t{number}" for number in range(TOKENS))
    if found != wanted:
        raise ValueError(f"{found!r} is not {wanted!r}")
