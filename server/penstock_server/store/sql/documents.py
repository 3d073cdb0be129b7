"""What is stored as JSON or as bytes within a row."""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any

import orjson
from google.rpc.status_pb2 import Status

from penstock_server.errors import Failure, from_status, to_status
from penstock_server.flows.flow import NodeRecord, NodeStatus
from penstock_server.runs.events import Event, NodeFinished, NodeStarted, OutputDelta, RunFinished, RunStarted
from penstock_server.store.records import JsonObject
from penstock_server.store.sql.keys import from_us, to_us


def dump(document: JsonObject) -> str:
    """A JSON object as text."""
    return orjson.dumps(document).decode()


def load(text: str | None) -> dict[str, object]:
    """The JSON object in a text; an empty one where there is none."""
    loaded: dict[str, object] = orjson.loads(text) if text else {}
    return loaded


def dump_error(error: Failure | None) -> bytes | None:
    """A failure as a serialized `google.rpc.Status`."""
    return None if error is None else to_status(error).SerializeToString()


def load_error(data: bytes | None) -> Failure | None:
    """The failure in a serialized `google.rpc.Status`."""
    return None if data is None else from_status(Status.FromString(bytes(data)))


def dump_nodes(nodes: Sequence[NodeRecord]) -> str | None:
    """Executions of nodes as JSON; a run without any has none."""
    return orjson.dumps([_node(node) for node in nodes]).decode() if nodes else None


def load_nodes(text: str | None) -> list[NodeRecord]:
    """The executions of nodes in a text."""
    return [_read_node(each) for each in orjson.loads(text)] if text else []


def dump_events(events: Sequence[Event]) -> str:
    """Events as a JSON array, in order, without their numbers.

    An output delta is its outputs, as they are: there may be thousands a second. Any other event is an array that
    begins with its kind. The last event of a run has no place in it, for the run itself says how it ended.
    """
    entries = [each.outputs if each.__class__ is OutputDelta else _entry(each) for each in events]
    return orjson.dumps(entries).decode()


def load_events(text: str, first_sequence: int) -> list[Event]:
    """The events in a text, the first of which has this number."""
    return [_read_entry(each, number) for number, each in enumerate(orjson.loads(text), first_sequence)]


class _Kind(IntEnum):
    RUN_STARTED = 1
    NODE_STARTED = 2
    NODE_FINISHED = 3


def _entry(event: Event) -> object:
    match event:
        case OutputDelta():
            return event.outputs
        case RunStarted():
            return _Kind.RUN_STARTED, event.run, event.flow, event.session, to_us(event.create_time)
        case NodeStarted():
            return _Kind.NODE_STARTED, event.node, to_us(event.start_time)
        case NodeFinished():
            return _Kind.NODE_FINISHED, _node(event.node)
        case RunFinished():
            raise ValueError("the last event of a run is not among those that are stored")


def _read_entry(entry: Any, sequence: int) -> Event:
    match entry:
        case dict():
            return OutputDelta(entry, sequence)
        case [_Kind.RUN_STARTED, run, flow, session, time_us]:
            return RunStarted(run, flow, session, from_us(time_us), sequence)
        case [_Kind.NODE_STARTED, node, time_us]:
            return NodeStarted(node, from_us(time_us), sequence)
        case [_Kind.NODE_FINISHED, node]:
            return NodeFinished(_read_node(node), sequence)
    raise ValueError(f"no event of kind {entry[0]!r} is known")


def _node(node: NodeRecord) -> dict[str, Any]:
    error = dump_error(node.error)
    return {
        "node": node.node,
        "status": node.status.value,
        "inputs": node.inputs,
        "output": node.output,
        "error": error.hex() if error else None,
        "logs": node.logs,
        "input_tokens": node.input_tokens,
        "output_tokens": node.output_tokens,
        "start_time": node.start_time.isoformat(),
        "end_time": node.end_time.isoformat() if node.end_time else None,
    }


def _read_node(each: dict[str, Any]) -> NodeRecord:
    return NodeRecord(
        node=each["node"],
        status=NodeStatus(each["status"]),
        inputs=each["inputs"],
        output=each["output"],
        error=load_error(bytes.fromhex(each["error"])) if each["error"] else None,
        logs=each["logs"],
        input_tokens=each["input_tokens"],
        output_tokens=each["output_tokens"],
        start_time=datetime.fromisoformat(each["start_time"]),
        end_time=datetime.fromisoformat(each["end_time"]) if each["end_time"] else None,
    )
