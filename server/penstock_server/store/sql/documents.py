"""What is stored as JSON or as bytes within a row."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from google.rpc.status_pb2 import Status

from penstock_server.errors import Failure, from_status, to_status
from penstock_server.flows.flow import NodeRecord, NodeStatus
from penstock_server.store.records import JsonObject


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
