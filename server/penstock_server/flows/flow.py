"""What a flow is to the rest of the server: a specification, a check of inputs and an execution.

Everything else in this package makes Flows, out of a folder or a callable. The package knows nothing of gRPC, of
protobuf, or of where runs are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from penstock_server.errors import Failure

JsonSchema = Mapping[str, Any]
"""A JSON Schema (draft 2020-12) as plain values."""


class FlowKind(StrEnum):
    """What a flow is made for; the names are those of `penstock.v1.Flow.Kind`."""

    STANDARD = "STANDARD"
    CHAT = "CHAT"


class HistoryForm(StrEnum):
    """In which form a chat flow takes the earlier rounds of its session."""

    ROUNDS = "ROUNDS"
    """`[{"inputs": {…}, "outputs": {…}}]`, an entry a round: what `flow.dag.yaml` defines."""
    MESSAGES = "MESSAGES"
    """`[{"role": "user", "content": …}, {"role": "assistant", "content": …}]`, two entries a round."""


class NodeStatus(StrEnum):
    """How a node's execution stands; the names are those of `penstock.v1.NodeRun.Status`."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    BYPASSED = "BYPASSED"


HISTORY_ROUNDS_MOST = 1000
"""How many rounds of a session a flow may ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """A flow as its callers see it; the fields are those of `penstock.v1.Flow`."""

    flow: str
    kind: FlowKind
    description: str = ""
    input_schema: JsonSchema
    """An object schema with one property an input, `required`, and `additionalProperties: false` where it is closed."""
    output_schema: JsonSchema
    streaming_outputs: tuple[str, ...] = ()
    snapshot: str
    """A digest of the flow's source: the same files give the same snapshot."""
    labels: Mapping[str, str] = field(default_factory=dict)
    chat_input: str = ""
    chat_output: str = ""
    chat_history: str = ""
    history_form: HistoryForm = HistoryForm.MESSAGES
    history_rounds_max: int | None = None
    """How many rounds the flow asks for; None leaves it to the service."""


@dataclass(slots=True, kw_only=True)
class NodeRecord:
    """One execution of a node, filled in while it goes on; the fields are those of `penstock.v1.NodeRun`."""

    node: str
    status: NodeStatus = NodeStatus.RUNNING
    inputs: Mapping[str, object] = field(default_factory=dict)
    """JSON values that describe the arguments; what is no JSON is described, not carried."""
    output: object = None
    """A JSON value that describes the result."""
    error: Failure | None = None
    logs: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    start_time: datetime
    end_time: datetime | None = None


class Recorder(Protocol):
    """Where an execution tells what happens. Its methods are called on the event loop and return at once."""

    def node_started(self, record: NodeRecord) -> None:
        """A node begins. The recorder keeps the record, and the flow goes on filling it in."""

    def node_finished(self, record: NodeRecord) -> None:
        """A node ended; its record is complete."""

    def delta(self, outputs: Mapping[str, object]) -> bool:
        """A piece of the outputs is known: JSON values by output, a chunk or a whole.

        Returns:
            Whether there is room for more. When not, the flow awaits `room()` before it produces the next piece.
        """

    async def room(self) -> None:
        """Waits until the slowest reader has made room."""


class Flow(Protocol):
    """A flow that can be executed, many times at once."""

    @property
    def spec(self) -> FlowSpec:
        """What callers may know of it."""

    async def arguments(self, inputs: Mapping[str, object]) -> dict[str, object]:
        """Checks JSON inputs and returns the arguments of `execute`, with defaults and casts applied.

        It does not suspend unless checking them executes the flow's own code, such as the validators of a model; that
        happens in a thread. `penstock.flow.current_call` is not set then, for there is no run yet.

        Raises:
            InvalidRequest: an input is missing, unknown or of the wrong type, or a validator refused it; every such
                input is named, as `inputs.<name>`.
            FlowFailed: the flow's code raised anything else.
            InputRefused: the flow's code raised `penstock.flow.InvalidInput`.
        """

    def bind(self, inputs: Mapping[str, object]) -> dict[str, object]:
        """The same at once, whatever code that executes here; what the flow's code raises passes as it is."""

    async def execute(self, arguments: Mapping[str, object], recorder: Recorder) -> dict[str, object]:
        """Executes the flow and returns its outputs as JSON values.

        Every output also passes through `recorder.delta`: one that streams in chunks, another one as a whole as soon
        as it is known; a flow without a streaming output gives all its outputs in a single delta.
        `penstock.flow.current_call` is set.
        Cancelling the task ends the execution: asynchronous code sees `CancelledError`, generators are closed, code in
        threads is told at its next yield.

        Raises:
            FlowFailed: the flow's code raised; `metadata` names the `flow` and the `node` (absent for a callable).
            InputRefused: the flow's code raised `penstock.flow.InvalidInput`.
        """

    async def close(self) -> None:
        """Lets go of what the flow holds."""
