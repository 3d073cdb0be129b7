"""The entries of a run's log. Each is what `penstock.v1.RunEvent` says, in the server's own terms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from sys import getsizeof
from typing import NamedTuple

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
"""What an event costs in memory besides its values (measured with tracemalloc, CPython 3.11)."""
CONTENT_BYTES_MIN = 16
"""What an event counts at least as content: its number and its frame are sent, too."""


class Size(NamedTuple):
    """How large the JSON values of an event are, about, in bytes."""

    content: int
    """Written out."""
    held: int
    """In memory."""


def size_of(values: Mapping[str, object]) -> Size:
    """The size of an event with these JSON values."""
    content, held = CONTENT_BYTES_MIN, EVENT_OVERHEAD_BYTES
    for value in values.values():
        if value.__class__ is str and value.isascii():
            length = len(value)
            content += length
            held += length + _TEXT_OVERHEAD_BYTES
        else:
            content += _sum(value, _written_bytes)
            held += _sum(value, getsizeof)
    return Size(content, held)


def _sum(value: object, own_bytes: Callable[[object], int]) -> int:
    """The bytes of a JSON value and of all that it holds."""
    size = own_bytes(value)
    if isinstance(value, Mapping):
        size += sum(own_bytes(key) + _sum(item, own_bytes) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        size += sum(_sum(item, own_bytes) for item in value)
    return size


def _written_bytes(value: object) -> int:
    return len(value.encode("utf-8", "replace")) if isinstance(value, str) else _PUNCTUATION_BYTES


_TEXT_OVERHEAD_BYTES = getsizeof("")
_PUNCTUATION_BYTES = 4
"""A number, a literal, or the brackets and commas of a container, about."""
