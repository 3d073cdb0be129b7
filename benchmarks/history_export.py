"""What the export of everything costs in memory."""

import threading
from dataclasses import dataclass

import grpc

from benchmarks.calls import WrongAnswer
from benchmarks.cores import LOAD_CORE, PROXY_CORE, SERVER_CORE
from benchmarks.history_pages import METADATA, stored
from benchmarks.process import Process
from benchmarks.sample import Sample
from benchmarks.subjects import Fleet, Subject
from penstock.v1.history_pb2 import ExportMessagesRequest
from penstock.v1.history_pb2_grpc import HistoryServiceStub

POLL_S = 0.05
EXPORT_TIMEOUT_S = 1800.0
WARM_UP_RECORDS = 5_000


@dataclass(frozen=True, kw_only=True)
class Export:
    """MiB by which the server's memory grows, at its highest, while one client reads everything that is stored."""

    name: str
    title: str
    subjects: tuple[str, ...]
    messages: int
    unit: str = "MiB"

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. Some of the export is read before, so that what the code itself needs is there."""
        target = fleet.filled(subject, stored(self.messages))
        cores = target.pin((SERVER_CORE, PROXY_CORE))
        _read(target, WARM_UP_RECORDS)
        server = target.processes[0]
        before = server.rss_bytes()
        with _Highest(server) as highest:
            found = _read(target, None)
        if found != self.messages:
            raise WrongAnswer(f"the export has {found} messages instead of {self.messages}")
        return Sample(value=(highest.rss_bytes - before) / 2**20, cores={**cores, "load": LOAD_CORE})


class _Highest:
    """Watches a process's memory within a block."""

    def __init__(self, process: Process) -> None:
        self.rss_bytes = 0
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Highest":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(POLL_S):
            self.rss_bytes = max(self.rss_bytes, self._process.rss_bytes())


def _read(target: Subject, records_max: int | None) -> int:
    """Reads the export, or its beginning; returns how many messages there were."""
    messages = 0
    with grpc.insecure_channel(target.grpc) as channel:
        call = HistoryServiceStub(channel).ExportMessages(
            ExportMessagesRequest(), metadata=METADATA, timeout=EXPORT_TIMEOUT_S
        )
        for response in call:
            messages += sum(record.HasField("message") for record in response.records)
            if records_max is not None and messages >= records_max:
                call.cancel()
                break
    return messages
