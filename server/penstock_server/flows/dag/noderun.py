"""One execution of a node, as its record tells it."""

from collections.abc import Mapping
from datetime import UTC, datetime

from penstock_server.errors import Failure
from penstock_server.flows.flow import NodeRecord, NodeStatus, Recorder
from penstock_server.flows.logs import NodeLog, capture
from penstock_server.flows.models.usage import current_record
from penstock_server.flows.results import describe


class NodeRun:
    """Tells that a node begins, and later how it ended; the current context, and what it starts, is the node's own.

    Attributes:
        log: what its code prints.
    """

    def __init__(self, node: str, recorder: Recorder, log_bytes_max: int) -> None:
        self.log = NodeLog(log_bytes_max)
        self._recorder = recorder
        self._record = NodeRecord(node=node, start_time=datetime.now(UTC))
        capture(self.log)
        current_record.set(self._record)
        recorder.node_started(self._record)

    def describe(self, arguments: Mapping[str, object]) -> None:
        """Notes what the node was given."""
        self._record.inputs = {name: describe(value, name) for name, value in arguments.items()}

    def succeeded(self, value: object) -> None:
        """The node gave a value."""
        self._record.output = describe(value)
        self._finish(NodeStatus.SUCCEEDED)

    def failed(self, error: Failure) -> None:
        """The node raised."""
        self._record.error = error
        self._finish(NodeStatus.FAILED)

    def bypassed(self) -> None:
        """The node did not run."""
        self._finish(NodeStatus.BYPASSED)

    def canceled(self) -> None:
        """The run ended before the node did."""
        self._finish(NodeStatus.CANCELED)

    def _finish(self, status: NodeStatus) -> None:
        self._record.status = status
        self._record.logs = self.log.close()
        self._record.end_time = datetime.now(UTC)
        self._recorder.node_finished(self._record)
