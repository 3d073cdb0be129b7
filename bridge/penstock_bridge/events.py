"""What the messages of a stream become: run events, or the messages themselves."""

from collections.abc import Callable
from typing import Any, Protocol

import orjson
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from penstock.v1 import run_pb2
from penstock_bridge.codec.encode import encoder, struct_json
from penstock_bridge.errors import Problem
from penstock_bridge.frames import Frame

DONE, ERROR = "done", "error"
"""The terminal frames; each stream that is not cut ends with exactly one of them."""

_EVENTS_FIELD = "events"
_RUN_EVENT = run_pb2.RunEvent.DESCRIPTOR.full_name
_RUN_VIEW = run_pb2.RunView.DESCRIPTOR.full_name
_ONEOF = "event"


class Teller(Protocol):
    """Turns the messages of one stream into bytes."""

    def tell(self, message: Any) -> bytes:
        """The events of a message, in order; empty where there is nothing to show."""

    def end(self, problem: Problem | None) -> bytes:
        """The terminal frame of a stream that failed, or did not."""


def tells_runs(output: Descriptor) -> bool:
    """Whether the messages of this type carry run events."""
    field = output.fields_by_name.get(_EVENTS_FIELD)
    return field is not None and field.message_type is not None and field.message_type.full_name == _RUN_EVENT


def view_field(input: Descriptor) -> str | None:
    """The field of a request that says which events are told."""
    for field in input.fields:
        if field.enum_type is not None and field.enum_type.full_name == _RUN_VIEW:
            return field.name
    return None


def teller(output: Descriptor, *, simple: bool, frame: Frame) -> Teller:
    """The teller for a stream of messages of this type."""
    if not tells_runs(output):
        return _MessageTeller(encoder(output), frame)
    return _SimpleTeller(frame) if simple else _FullTeller(frame)


class _RunTeller:
    """What both forms of a run's stream share: the end, which repeats the number of the last event."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._last = 0
        self._finished: run_pb2.RunFinished | None = None

    def end(self, problem: Problem | None) -> bytes:
        finished = self._finished
        if problem is None and finished is not None and finished.HasField("error"):
            # A watched run's failure is no failure of the watching.
            problem = Problem(finished.error)
        if problem is not None:
            return self._frame(ERROR, self._last, problem.body())
        return self._frame(DONE, self._last, orjson.dumps(_outcome(finished)))


class _FullTeller(_RunTeller):
    """Every entry of the run's log."""

    def tell(self, message: Any) -> bytes:
        frames = []
        for event in message.events:
            name = event.WhichOneof(_ONEOF)
            self._last = event.sequence
            if name is None:
                continue
            payload = getattr(event, name)
            if name == "run_finished":
                self._finished = payload
            frames.append(self._frame(name, self._last, orjson.dumps(encoder(payload.DESCRIPTOR)(payload))))
        return b"".join(frames)


class _SimpleTeller(_RunTeller):
    """The pieces of the outputs alone, without names."""

    def tell(self, message: Any) -> bytes:
        frames = []
        frame = self._frame
        for event in message.events:
            name = event.WhichOneof(_ONEOF)
            self._last = sequence = event.sequence
            if name == "output_delta":
                frames.append(frame("", sequence, struct_json(event.output_delta.outputs)))
            elif name == "run_finished":
                self._finished = event.run_finished
        return b"".join(frames)


class _MessageTeller:
    """Each message whole, numbered as it comes."""

    def __init__(self, encode: Callable[[Message], object], frame: Frame) -> None:
        self._encode = encode
        self._frame = frame
        self._count = 0

    def tell(self, message: Any) -> bytes:
        self._count += 1
        return self._frame("", self._count, orjson.dumps(self._encode(message)))

    def end(self, problem: Problem | None) -> bytes:
        if problem is not None:
            return self._frame(ERROR, self._count, problem.body())
        return self._frame(DONE, self._count, b"{}")


def _outcome(finished: run_pb2.RunFinished | None) -> dict[str, str]:
    if finished is None:
        return {}
    return {"run": finished.run, "status": run_pb2.Run.Status.Name(finished.status)}
