"""One run while it lives: its record, its log, and the recorder that the flow reports to."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from penstock_server.errors import Failure, RunTooLarge
from penstock_server.flows.flow import FlowSpec, NodeRecord
from penstock_server.runs.events import (
    EVENT_OVERHEAD_BYTES,
    Event,
    NodeFinished,
    NodeStarted,
    OutputDelta,
    RunFinished,
    RunStarted,
    RunStatus,
    size_of,
)
from penstock_server.runs.log import EventLog
from penstock_server.store.records import Accepted, Idempotency


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeCommand:
    """What a caller asks for: an execution of a flow."""

    flow: str
    """The flow's id; empty for the default flow."""
    inputs: Mapping[str, object]
    session: str
    session_is_new: bool = False
    """The server has just made the session's id up."""
    user: str = ""
    continue_on_disconnect: bool = False
    stored: bool = True
    """Whether the run is to be kept, where the service stores runs."""
    idempotency: Idempotency | None = None


class Run:
    """A run from its acceptance to its end. It is the `Recorder` of its flow's execution.

    How it ends is decided once, and told once that is stored: between the two it takes no more events.

    The fields without underscore are those of `penstock.v1.Run`.
    """

    __slots__ = (
        "_decided",
        "_ended",
        "_log_bytes",
        "_log_bytes_max",
        "_loop",
        "_said",
        "accepted",
        "command",
        "create_time",
        "end_time",
        "error",
        "log",
        "nodes",
        "outputs",
        "run",
        "spec",
        "start_time",
        "status",
        "task",
    )  # fmt: skip

    def __init__(
        self,
        run: str,
        spec: FlowSpec,
        command: InvokeCommand,
        *,
        log: EventLog,
        log_bytes_max: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.run = run
        self.spec = spec
        self.command = command
        self.log = log
        self.status = RunStatus.QUEUED
        self.outputs: Mapping[str, object] = {}
        self.nodes: list[NodeRecord] = []
        self.error: Failure | None = None
        self.create_time = datetime.now(UTC)
        self.start_time: datetime | None = None
        self.end_time: datetime | None = None
        self.task: asyncio.Task[None] | None = None
        self.accepted: Accepted | None = None
        """What the store says of the run; None where it is not stored."""
        self._decided = RunStatus.QUEUED
        self._said: dict[str, list[object]] = {}
        self._loop = loop
        self._log_bytes = 0
        self._log_bytes_max = log_bytes_max
        self._ended: list[asyncio.Future[None]] = []

    @property
    def input_tokens(self) -> int:
        """What went into the models of all nodes."""
        return sum(node.input_tokens for node in self.nodes)

    @property
    def output_tokens(self) -> int:
        """What the models of all nodes produced."""
        return sum(node.output_tokens for node in self.nodes)

    def started(self) -> None:
        """The flow begins to execute."""
        self.status = RunStatus.RUNNING
        self.start_time = datetime.now(UTC)
        self._tell_started()

    def decide(self, status: RunStatus, error: Failure | None = None) -> bool:
        """How the run ends: the first decision stands. Returns whether this is it."""
        if self._decided.terminal:
            return False
        self._decided, self.error = status, error
        self.end_time = datetime.now(UTC)
        return True

    @property
    def decided(self) -> RunStatus:
        """How the run ends; not terminal as long as that is open."""
        return self._decided

    def finished(self) -> None:
        """The run enters the terminal status that was decided."""
        if not self.log.last_sequence:  # cancelled before it began
            self._tell_started()
        self.status = self._decided
        end_time = self.end_time or datetime.now(UTC)
        self.log.append(RunFinished(self.run, self.status, self.error, self.input_tokens, self.output_tokens, end_time))
        self._wake()

    def unrecorded(self, failure: Failure) -> None:
        """How the run ended could not be stored, so nobody is told; its callers get this failure."""
        self.error = failure
        self.log.end()
        self._wake()

    @property
    def said(self) -> Mapping[str, object]:
        """What the flow returned; of a run that did not succeed, what it had said until then."""
        if self._decided is RunStatus.SUCCEEDED:
            return self.outputs
        return {name: _joined(chunks, name in self.spec.streaming_outputs) for name, chunks in self._said.items()}

    async def ended(self) -> None:
        """Waits until the run is in its terminal status, or its end could not be stored."""
        if self.status.terminal or self.log.ended:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._ended.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._ended:
                self._ended.remove(waiter)

    def node_started(self, record: NodeRecord) -> None:
        """See `Recorder`."""
        self.nodes.append(record)
        self._append(NodeStarted(record.node, record.start_time))

    def node_finished(self, record: NodeRecord) -> None:
        """See `Recorder`."""
        size = size_of({"inputs": record.inputs, "output": record.output})
        self._log_bytes += size.content
        self._append(NodeFinished(record), size.held)

    def delta(self, outputs: Mapping[str, object]) -> bool:
        """See `Recorder`.

        Raises:
            RunTooLarge: the run's events hold more than `run_log_bytes_max`.
        """
        if self.accepted is not None:
            for name, chunk in outputs.items():
                self._said.setdefault(name, []).append(chunk)
        content_bytes, held_bytes = size_of(outputs)
        self._log_bytes += content_bytes
        if self._log_bytes > self._log_bytes_max:
            raise RunTooLarge(
                f"the run produced more than {self._log_bytes_max} bytes of events (run_log_bytes_max)",
                metadata={"flow": self.spec.flow, "run": self.run},
            )
        return self._append(OutputDelta(outputs), held_bytes)

    async def room(self) -> None:
        """See `Recorder`."""
        await self.log.room()

    def _tell_started(self) -> None:
        self.log.append(RunStarted(self.run, self.spec.flow, self.command.session, self.create_time))

    def _append(self, event: Event, size_bytes: int = EVENT_OVERHEAD_BYTES) -> bool:
        # A cancelled flow still reports while it is being torn down, but nothing follows `run_finished` in the log.
        return True if self._decided.terminal else self.log.append(event, size_bytes)

    def _wake(self) -> None:
        for waiter in self._ended:
            if not waiter.done():
                waiter.set_result(None)
        self._ended.clear()


def _joined(chunks: list[object], streams: bool) -> object:
    if not streams:
        return chunks[-1]
    texts = [chunk for chunk in chunks if isinstance(chunk, str)]
    return "".join(texts) if len(texts) == len(chunks) else chunks
