"""What the messages of a stream become: the events in them, or the messages themselves.

A message that holds nothing but a list of entries, each one of several kinds (a `oneof`), is told as its entries, each
under the name of its kind. So are the events of runs, and the records of an export.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from penstock.status import error_info
from penstock.v1 import run_pb2
from penstock_bridge.codec import fields
from penstock_bridge.codec.encode import encoder, struct_json
from penstock_bridge.errors import Problem, defect
from penstock_bridge.frames import Frame

DONE, ERROR = "done", "error"
"""The terminal frames; each stream that is not cut ends with exactly one of them."""

_RUN_EVENT = run_pb2.RunEvent.DESCRIPTOR.full_name
_RUN_VIEW = run_pb2.RunView.DESCRIPTOR.full_name
_NUMBER = "sequence"
_OUTPUT_DELTA, _RUN_FINISHED = "output_delta", "run_finished"

_NO_END = {"SERVER_UNREACHABLE", "STORE_UNAVAILABLE"}
"""Failures that end a call and, as long as its log does not say so, not its run: the server is gone, or it cannot say
how the run ended."""

LOST_AFTER = "lostAfter"
"""The member of a terminal frame's data that says where entries are missing."""


class Teller(Protocol):
    """Turns the messages of one stream into bytes."""

    def tell(self, message: Any) -> bytes:
        """The events of a message, in order; empty where there is nothing to show."""

    def goes_on(self, problem: Problem) -> bool:
        """Whether what is told goes on although the call has failed, so that its reader has to come again."""

    def end(self, problem: Problem | None) -> bytes:
        """The terminal frame of a stream that failed, or did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """The list that the messages of a stream consist of."""

    field: str
    """The list's name."""
    kinds: tuple[FieldDescriptor, ...]
    """What an entry can be; the names are those of the events."""
    oneof: str
    numbered: bool
    """Whether entries bring their numbers along. Otherwise they are counted."""
    of_runs: bool
    """Whether they are the events of a run."""


def entries_of(output: Descriptor) -> Entries | None:
    """The entries of a stream of messages of this type; None where each message is one event."""
    lists = [field for field in output.fields if fields.is_repeated(field) and fields.is_message(field)]
    if len(lists) != 1 or len(output.fields) != 1:
        return None
    entry = fields.message_type(lists[0])
    if len(entry.oneofs) != 1:
        return None
    oneof = entry.oneofs[0]
    others = {field.name for field in entry.fields} - {field.name for field in oneof.fields}
    if not others <= {_NUMBER} or not all(map(fields.is_message, oneof.fields)):
        return None
    return Entries(
        field=lists[0].name,
        kinds=tuple(oneof.fields),
        oneof=oneof.name,
        numbered=bool(others),
        of_runs=entry.full_name == _RUN_EVENT,
    )


def view_field(input: Descriptor) -> str | None:
    """The field of a request that says which events are told."""
    for field in input.fields:
        if field.enum_type is not None and field.enum_type.full_name == _RUN_VIEW:
            return field.name
    return None


def teller(output: Descriptor, *, simple: bool, frame: Frame, after: int = 0) -> Teller:
    """The teller for a stream of messages of this type.

    Args:
        simple: whether the pieces of a run's outputs are told alone.
        after: the number behind which the stream begins.
    """
    entries = entries_of(output)
    if entries is None:
        return _MessageTeller(encoder(output), frame, after)
    if not entries.of_runs:
        return _EntryTeller(entries, frame, after)
    return (_SimpleTeller if simple else _RunTeller)(entries, frame, after)


class _EntryTeller:
    """Every entry under its name. The end repeats the number of the last one."""

    def __init__(self, entries: Entries, frame: Frame, after: int) -> None:
        self._entries = entries
        self._frame = frame
        self._last = after

    def tell(self, message: Any) -> bytes:
        entries, frames = self._entries, []
        for entry in getattr(message, entries.field):
            name = entry.WhichOneof(entries.oneof)
            self._last = entry.sequence if entries.numbered else self._last + 1
            if name is None:
                continue
            payload = getattr(entry, name)
            frames.append(self._frame(name, self._last, orjson.dumps(encoder(payload.DESCRIPTOR)(payload))))
        return b"".join(frames)

    def goes_on(self, problem: Problem) -> bool:
        return False

    def end(self, problem: Problem | None) -> bytes:
        if problem is not None:
            return self._frame(ERROR, self._last, problem.body())
        return self._frame(DONE, self._last, b"{}")


class _RunTeller(_EntryTeller):
    """Every event of a run's log. The end says how the run ended."""

    def __init__(self, entries: Entries, frame: Frame, after: int) -> None:
        super().__init__(entries, frame, after)
        self._after = after
        self._finished: run_pb2.RunFinished | None = None

    def tell(self, message: Any) -> bytes:
        events = message.events
        # It is always the last event. Readers who have it get it once more, for its outcome, but are not told it twice.
        if events and events[-1].HasField(_RUN_FINISHED):
            self._finished = events[-1].run_finished
            if events[-1].sequence <= self._after:
                return b""
        return super().tell(message)

    def goes_on(self, problem: Problem) -> bool:
        """A run ends when its log says so."""
        return self._finished is None and error_info(problem.status).reason in _NO_END

    def end(self, problem: Problem | None) -> bytes:
        finished = self._finished or run_pb2.RunFinished()
        lost = {LOST_AFTER: finished.lost_after} if finished.HasField("lost_after") else {}
        failure = self._failure(problem)
        if failure is not None:
            return self._frame(ERROR, self._last, orjson.dumps(failure.document() | lost))
        outcome = {"run": finished.run, "status": run_pb2.Run.Status.Name(finished.status)}
        return self._frame(DONE, self._last, orjson.dumps(outcome | lost))

    def _failure(self, problem: Problem | None) -> Problem | None:
        """Why there is no success to tell. Where the run's end is known it counts, not how the telling of it ended."""
        finished = self._finished
        if finished is not None and finished.status == run_pb2.Run.SUCCEEDED:
            return None
        if finished is not None and finished.HasField("error"):
            return Problem(finished.error)
        return problem or defect(RuntimeError("the stream of a run ended well, and did not say how the run did"))


class _SimpleTeller(_RunTeller):
    """The pieces of a run's outputs alone, without names."""

    def tell(self, message: Any) -> bytes:
        frames = []
        frame = self._frame
        for event in message.events:
            name = event.WhichOneof("event")
            self._last = sequence = event.sequence
            if name == _OUTPUT_DELTA:
                frames.append(frame("", sequence, struct_json(event.output_delta.outputs)))
            elif name == _RUN_FINISHED:
                self._finished = event.run_finished
        return b"".join(frames)


class _MessageTeller:
    """Each message whole, numbered as it comes."""

    def __init__(self, encode: Callable[[Message], object], frame: Frame, after: int) -> None:
        self._encode = encode
        self._frame = frame
        self._count = after

    def tell(self, message: Any) -> bytes:
        self._count += 1
        return self._frame("", self._count, orjson.dumps(self._encode(message)))

    def goes_on(self, problem: Problem) -> bool:
        return False

    def end(self, problem: Problem | None) -> bytes:
        if problem is not None:
            return self._frame(ERROR, self._count, problem.body())
        return self._frame(DONE, self._count, b"{}")
