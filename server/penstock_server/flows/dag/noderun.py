"""One execution of a node, as its record tells it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from penstock_server.errors import Failure
from penstock_server.flows.flow import NodeRecord, NodeStatus, Recorder
from penstock_server.flows.logs import NodeLog, capture
from penstock_server.flows.models.usage import current_record
from penstock_server.flows.results import describe


class End(NamedTuple):
    """How a node ended."""

    status: NodeStatus
    time: datetime
    output: object = None
    """A description of what it returned."""
    error: Failure | None = None


class NodeRun:
    """The record of a node while it is executed.

    It may be made, and ended, in any thread; the recorder is told on the event loop.

    Attributes:
        log: what the node's code prints.
    """

    def __init__(self, node: str, log_bytes_max: int) -> None:
        """Begins; the current context, and what is started in it, becomes the node's own."""
        self.log = NodeLog(log_bytes_max)
        self._record = NodeRecord(node=node, start_time=datetime.now(UTC))
        self._end: End | None = None
        self._is_started = False
        self._is_ended = False
        capture(self.log)
        current_record.set(self._record)

    def describe(self, arguments: Mapping[str, object]) -> None:
        """Notes what the node was given."""
        self._record.inputs = {name: describe(value, name) for name, value in arguments.items()}

    def succeeded(self, value: object) -> None:
        """The node returned a value."""
        self._end = End(NodeStatus.SUCCEEDED, datetime.now(UTC), describe(value))

    def bypassed(self) -> None:
        """The node did not run."""
        self._end = End(NodeStatus.BYPASSED, datetime.now(UTC))

    def failed(self, error: Failure) -> None:
        """The node raised."""
        self._end = End(NodeStatus.FAILED, datetime.now(UTC), error=error)

    def tell(self, recorder: Recorder) -> None:
        """Tells what has happened so far, each thing once."""
        if not self._is_started:
            self._is_started = True
            recorder.node_started(self._record)
        if self._end is not None and not self._is_ended:
            self._finish(self._end, recorder)

    def cancel(self, recorder: Recorder) -> None:
        """Tells that the run ended before the node did; what the node does from now on is not told."""
        self.tell(recorder)
        if not self._is_ended:
            self._finish(End(NodeStatus.CANCELED, datetime.now(UTC)), recorder)

    def _finish(self, end: End, recorder: Recorder) -> None:
        self._is_ended = True
        record = self._record
        record.status, record.output, record.error, record.end_time = end.status, end.output, end.error, end.time
        record.logs = self.log.close()
        recorder.node_finished(record)
