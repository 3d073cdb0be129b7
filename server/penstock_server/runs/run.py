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
    OnBusy,
    OnDisconnect,
    OutputDelta,
    RunFinished,
    RunStarted,
    RunStatus,
    size_of,
)
from penstock_server.runs.log import EventLog
from penstock_server.runs.said import Said
from penstock_server.store.records import Accepted, Idempotency, RunRecord


@dataclass(slots=True, kw_only=True)  # not frozen: that makes a call's record three times as dear
class InvokeCommand:
    """What a caller asks for: an execution of a flow. Nobody changes it."""

    flow: str
    """The flow's id; empty for the default flow."""
    inputs: Mapping[str, object]
    session: str
    session_is_new: bool = False
    """The server has just made the session's id up."""
    user: str = ""
    on_busy: OnBusy = OnBusy.QUEUE
    on_disconnect: OnDisconnect = OnDisconnect.CANCEL
    background: bool = False
    """Whether the caller does not wait for the end."""
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
        "followers",
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
        """Executes the flow, until that has come to rest."""
        self.accepted: Accepted | None = None
        """What the store says of the run; None where it is not stored."""
        self.followers = 0
        """How many calls wait for its end, or read its log."""
        self._decided: RunStatus | None = None
        self._said = Said(spec.streaming_outputs)
        self._loop = loop
        self._log_bytes = 0
        self._log_bytes_max = log_bytes_max
        self._ended: list[asyncio.Future[None]] = []

    @property
    def input_tokens(self) -> int:
        """What went into the models of all nodes."""
        return sum([node.input_tokens for node in self.nodes])

    @property
    def output_tokens(self) -> int:
        """What the models of all nodes produced."""
        return sum([node.output_tokens for node in self.nodes])

    @property
    def kept(self) -> bool:
        """Whether the store has the run."""
        return self.accepted is not None and self.accepted.run_key != 0

    @property
    def flow(self) -> str:
        """The flow's id."""
        return self.spec.flow

    @property
    def session(self) -> str:
        """The conversation."""
        return self.command.session

    @property
    def user(self) -> str:
        """The session's owner, as the caller named it."""
        return self.command.user

    @property
    def inputs(self) -> Mapping[str, object]:
        """What the caller sent."""
        return self.command.inputs

    @property
    def snapshot(self) -> str:
        """The version of the flow."""
        return self.spec.snapshot

    def announce(self) -> None:
        """Tells that the run was accepted; the first time alone."""
        if not self.log.last_sequence:
            self.log.append(RunStarted(self.run, self.spec.flow, self.command.session, self.create_time))

    def started(self) -> None:
        """The flow begins to execute."""
        self.status = RunStatus.RUNNING
        self.start_time = datetime.now(UTC)
        self.announce()

    def decide(self, status: RunStatus, error: Failure | None = None) -> bool:
        """How the run ends: the first decision stands. Returns whether this is it."""
        if self._decided is not None:
            return False
        self._decided, self.error = status, error
        self.end_time = datetime.now(UTC)
        return True

    @property
    def decided(self) -> RunStatus | None:
        """How the run ends; None as long as that is open."""
        return self._decided

    def finished(self) -> None:
        """The run enters the terminal status that was decided."""
        self.announce()  # it may have been cancelled before it began
        assert self._decided is not None  # noqa: S101 - its end is told once it is decided
        self.status, self.outputs = self._decided, self.said
        end_time = self.end_time or datetime.now(UTC)
        self.log.finish(RunFinished(self.run, self.status, self.error, self.input_tokens, self.output_tokens, end_time))
        self._wake()

    def taken_over(self, record: RunRecord, end: RunFinished) -> None:
        """Another instance took this one for dead, and has ended the run: that is what counts."""
        self._decided = self.status = record.status
        self.error, self.outputs, self.nodes = record.error, record.outputs, list(record.nodes)
        self.start_time, self.end_time = record.start_time, record.end_time
        self.log.finish(end, end.sequence)
        self._wake()

    def unrecorded(self, failure: Failure) -> None:
        """How the run ended could not be stored, so nobody is told; its callers get this failure."""
        self.error = failure
        self.log.end()
        self._wake()

    @property
    def said(self) -> Mapping[str, object]:
        """What the flow returned; of a run that did not succeed, what it had said until then."""
        return self.outputs if self._decided is RunStatus.SUCCEEDED else self._said.outputs

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

    async def recorded(self) -> "Run":
        """Waits for the end, and returns the run. Raises Failure where the end could not be stored."""
        await self.ended()
        if self.error is not None and not self.status.terminal:
            raise self.error
        return self

    def node_started(self, record: NodeRecord) -> None:
        """See `Recorder`."""
        self.nodes.append(record)
        self._append(NodeStarted(record.node, record.start_time))

    def node_finished(self, record: NodeRecord) -> None:
        """See `Recorder`."""
        content_bytes, held_bytes = size_of({"inputs": record.inputs, "output": record.output})
        self._log_bytes += content_bytes
        self._append(NodeFinished(record), held_bytes)

    def delta(self, outputs: Mapping[str, object]) -> bool:
        """See `Recorder`.

        Raises:
            RunTooLarge: the run's events hold more than `run_log_bytes_max`.
        """
        if self.accepted is not None:
            self._said.add(outputs)
        content_bytes, held_bytes = size_of(outputs)
        self._log_bytes += content_bytes
        if self._log_bytes > self._log_bytes_max:
            raise RunTooLarge(
                f"the run produced more than {self._log_bytes_max} bytes of events (run_log_bytes_max)",
                metadata={"flow": self.spec.flow, "run": self.run},
            )
        return self._decided is not None or self.log.append(OutputDelta(outputs), held_bytes)

    async def room(self) -> None:
        """See `Recorder`."""
        await self.log.room()

    def _append(self, event: Event, size_bytes: int = EVENT_OVERHEAD_BYTES) -> None:
        # A cancelled flow still reports while it is being torn down, but nothing follows `run_finished` in the log.
        if self._decided is None:
            self.log.append(event, size_bytes)

    def _wake(self) -> None:
        for waiter in self._ended:
            if not waiter.done():
                waiter.set_result(None)
        self._ended.clear()
