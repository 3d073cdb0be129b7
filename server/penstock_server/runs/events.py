"""The entries of a run's log. Each is what `penstock.v1.RunEvent` says, in the server's own terms."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import chain
from sys import getsizeof

from penstock_server.errors import Failure
from penstock_server.flows.flow import NodeRecord


class RunStatus(IntEnum):
    """How a run stands; names and numbers are those of `penstock.v1.Run.Status`.

    Attributes:
        terminal: whether a run stays in this status for good.
    """

    terminal: bool

    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELED = 5
    INTERRUPTED = 6

    def __init__(self, number: int) -> None:
        self.terminal = number not in (1, 2)


class OnBusy(IntEnum):
    """What a run does while another of its session lives; the numbers are those of `penstock.v1.InvokeOptions`."""

    QUEUE = 1
    REJECT = 2
    INTERRUPT = 3


class OnDisconnect(IntEnum):
    """What becomes of a run that nobody follows any more; the numbers of the first two are the contract's."""

    CANCEL = 1
    """It is cancelled when its caller leaves."""
    CONTINUE = 2
    """It goes on to its end."""
    LINGER = 3
    """It goes on for `disconnect_grace_s`, and is cancelled then unless somebody watches it."""


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
    lost_after: int | None = None
    """The last entry that is left of what a dead owner had numbered; None where nothing is missing."""
    sequence: int = 0


Event = RunStarted | NodeStarted | NodeFinished | OutputDelta | RunFinished

EVENT_OVERHEAD_BYTES = 384
"""What an event costs in memory besides its values (measured with tracemalloc, CPython 3.11)."""
CONTENT_BYTES_MIN = 16
"""What an event counts at least as content: its number and its frame are sent, too."""


def size_of(values: Mapping[str, object]) -> tuple[int, int]:
    """How large an event with these JSON values is, about: the bytes of its content, written out, and in memory."""
    content, held = CONTENT_BYTES_MIN, EVENT_OVERHEAD_BYTES
    for value in values.values():
        value_content, value_held = _text_sizes(value) if type(value) is str else _sizes(value)
        content += value_content
        held += value_held
    return content, held


def _text_sizes(text: str) -> tuple[int, int]:
    if text.isascii():
        return len(text), len(text) + _TEXT_OVERHEAD_BYTES
    return len(text.encode("utf-8", "replace")), getsizeof(text)


def _sizes(value: object) -> tuple[int, int]:
    """The bytes of a JSON value with all that it holds: written out, and in memory."""
    if isinstance(value, str):
        return _text_sizes(value)
    if value is None or isinstance(value, (int, float)):
        return _PUNCTUATION_BYTES, _NUMBER_BYTES
    items: Iterable[object] = ()
    if isinstance(value, (dict, Mapping)):
        items = chain(value.keys(), value.values())
    elif isinstance(value, (list, tuple)):
        items = value
    content, held = _PUNCTUATION_BYTES, getsizeof(value)
    for item in items:
        item_content, item_held = _sizes(item)
        content += item_content
        held += item_held
    return content, held


_TEXT_OVERHEAD_BYTES = getsizeof("")
_PUNCTUATION_BYTES = 4
"""A number, a literal, or the brackets and commas of a container, about."""
_NUMBER_BYTES = getsizeof(0.0)
