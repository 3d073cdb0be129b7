"""What the messages of a stream become."""

import json

import pytest
from google.protobuf.message import Message

from penstock.v1 import flow_pb2, history_pb2, run_pb2
from penstock_bridge.errors import invalid_request
from penstock_bridge.events import entries_of, teller
from penstock_bridge.frames import ndjson


def lines(data: bytes) -> list[object]:
    return [json.loads(line) for line in data.splitlines()]


def export(*names: str) -> history_pb2.ExportMessagesResponse:
    response = history_pb2.ExportMessagesResponse()
    for name in names:
        getattr(response.records.add(), name).SetInParent()
    return response


@pytest.mark.parametrize(
    ("message", "kinds", "numbered"),
    [
        (history_pb2.ExportMessagesResponse, ["session", "message"], False),
        (
            flow_pb2.InvokeStreamResponse,
            ["run_started", "node_started", "node_finished", "output_delta", "run_finished"],
            True,
        ),
    ],
)
def test_a_list_of_entries_of_several_kinds_is_told_entry_by_entry(
    message: type[Message], kinds: list[str], numbered: bool
) -> None:
    entries = entries_of(message.DESCRIPTOR)
    assert entries is not None
    assert [kind.name for kind in entries.kinds] == kinds
    assert entries.numbered is numbered


@pytest.mark.parametrize(
    "message", [run_pb2.Run, history_pb2.ListSessionsResponse, history_pb2.GetSessionRequest, run_pb2.RunEvent]
)
def test_any_other_message_is_told_whole(message: type[Message]) -> None:
    assert entries_of(message.DESCRIPTOR) is None
    told = teller(message.DESCRIPTOR, simple=False, frame=ndjson)
    [line] = lines(told.tell(message()))
    assert line["event"] == "message"  # type: ignore[index]


def test_entries_without_numbers_are_counted_through_all_messages() -> None:
    told = teller(history_pb2.ExportMessagesResponse.DESCRIPTOR, simple=False, frame=ndjson)
    frames = lines(told.tell(export("session", "message")) + told.tell(export()) + told.tell(export("message")))
    assert [(frame["event"], frame["id"]) for frame in frames] == [  # type: ignore[index]
        ("session", 1),
        ("message", 2),
        ("message", 3),
    ]
    assert lines(told.end(None)) == [{"event": "done", "id": 3, "data": {}}]


def test_entries_that_are_cut_off_end_with_the_error() -> None:
    told = teller(history_pb2.ExportMessagesResponse.DESCRIPTOR, simple=True, frame=ndjson)
    told.tell(export("session"))
    [line] = lines(told.end(invalid_request("no", violations=[])))
    assert (line["event"], line["id"], line["data"]["error"]["code"]) == ("error", 1, 400)  # type: ignore[index]
