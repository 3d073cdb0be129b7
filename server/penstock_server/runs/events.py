"""The entries of a run's log. Each is what `penstock.v1.RunEvent` says, in the server's own terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from penstock_server.errors import Failure
from penstock_server.flows.flow import NodeRecord


class RunStatus(IntEnum):
    """How a run stands; names and numbers are those of `penstock.v1.Run.Status`."""

    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELED = 5
    INTERRUPTED = 6

    @property
    def terminal(self) -> bool:
        """Whether a run stays in this status for good."""
        return self >= RunStatus.SUCCEEDED


@dataclass(slots=True)
class RunStarted:
    """The run was accepted."""

    run: str
    flow: str
    session: str
    create_time: datetime
    sequence: int = 0


@dataclass(slots=True)
class NodeStarted:
    """A node began to execute."""

    node: str
    start_time: datetime
    sequence: int = 0


@dataclass(slots=True)
class NodeFinished:
    """A node ended."""

    node: NodeRecord
    sequence: int = 0


@dataclass(slots=True)
class OutputDelta:
    """A piece of the outputs: JSON values by output, a chunk or a whole."""

    outputs: Mapping[str, object]
    sequence: int = 0


@dataclass(slots=True)
class RunFinished:
    """The run entered its terminal status."""

    run: str
    status: RunStatus
    error: Failure | None
    input_tokens: int
    output_tokens: int
    end_time: datetime
    sequence: int = 0


Event = RunStarted | NodeStarted | NodeFinished | OutputDelta | RunFinished

EVENT_OVERHEAD_BYTES = 384
"""What an event with a short text costs in memory besides the text (measured with tracemalloc, CPython 3.11)."""


def held_bytes(values: Mapping[str, object]) -> int:
    """About how much memory an event with these JSON values holds, in bytes."""
    size = EVENT_OVERHEAD_BYTES
    for value in values.values():
        size += len(value) if value.__class__ is str else _nested_bytes(value)
    return size


def _nested_bytes(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(key) + _nested_bytes(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return sum(map(_nested_bytes, value))
    return _NUMBER_BYTES


_NUMBER_BYTES = 32
