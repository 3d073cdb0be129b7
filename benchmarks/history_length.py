"""Whether a long conversation answers as quickly as a short one."""

import statistics
import time
from dataclasses import dataclass
from typing import Any

import grpc

from benchmarks.calls import ANSWER_TIMEOUT_S, TEXT, WrongAnswer
from benchmarks.cores import LOAD_CORE, PROXY_CORE, SERVER_CORE
from benchmarks.history_fill import Sessions
from benchmarks.sample import Sample
from benchmarks.stores import SQLITE
from benchmarks.subjects import TOKEN, Fleet
from penstock.v1.flow_pb2 import InvokeRequest
from penstock.v1.flow_pb2_grpc import FlowServiceStub
from penstock.v1.run_pb2 import Run

SHORT, LONG = "a session of 10 turns", "a session of 10,000 turns"
SHORT_SESSIONS = Sessions(prefix="short", count=400, turns=10)
LONG_SESSIONS = Sessions(prefix="long", count=1, turns=10_000)
CALLS = 400


@dataclass(frozen=True, kw_only=True)
class Length:
    """Milliseconds an Invoke of a chat flow, one caller; the mean, for what varies is the disk."""

    name: str
    title: str
    subjects: tuple[str, ...] = (SHORT, LONG)
    unit: str = "ms"

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. Short sessions take turns, and so stay short."""
        target = fleet.filled(SQLITE, SHORT_SESSIONS, LONG_SESSIONS)
        cores = target.pin((SERVER_CORE, PROXY_CORE))
        sessions = SHORT_SESSIONS if subject == SHORT else LONG_SESSIONS
        with grpc.insecure_channel(target.grpc) as channel:
            stub: Any = FlowServiceStub(channel)
            _invoke(stub, sessions.id(0))
            times_ms = [_invoke(stub, sessions.id(number % sessions.count)) for number in range(CALLS)]
        details = {"median_ms": statistics.median(times_ms)}
        return Sample(value=statistics.fmean(times_ms), details=details, cores={**cores, "load": LOAD_CORE})


def _invoke(stub: Any, session: str) -> float:
    request = InvokeRequest(flow="chat")
    request.inputs["question"] = TEXT
    metadata = (("authorization", f"Bearer {TOKEN}"), ("chat-session-id", session))
    start = time.perf_counter()
    run = stub.Invoke(request, metadata=metadata, timeout=ANSWER_TIMEOUT_S)
    took_ms = 1000 * (time.perf_counter() - start)
    if run.status != Run.SUCCEEDED or run.outputs["answer"] != TEXT:
        raise WrongAnswer(f"the run in session {session} gave {run}")
    return took_ms
