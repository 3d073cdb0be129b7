"""Sessions and messages as the wire's messages."""

from penstock.v1 import history_pb2
from penstock.values import to_struct
from penstock_server.history.export import Line
from penstock_server.history.messageids import message_id
from penstock_server.services.messages import write_usage
from penstock_server.services.times import write_time
from penstock_server.store.records import MessageRecord, SessionRecord

LENGTH_BYTES = 8
"""What a text takes on the wire besides itself."""


def session_message(record: SessionRecord) -> history_pb2.Session:
    """A session as callers see it."""
    message = history_pb2.Session()
    _write_session(record, message)
    return message


def message_message(record: MessageRecord, bytes_max: int) -> history_pb2.Message:
    """A message as callers see it; shortened where it would have more bytes than these."""
    message = history_pb2.Message()
    _write_message(record, message, bytes_max)
    return message


def write_record(line: Line, target: history_pb2.ExportRecord, bytes_max: int) -> None:
    """Sets one record of an export; a message is shortened where it would have more bytes than these."""
    if isinstance(line, SessionRecord):
        _write_session(line, target.session)
    else:
        _write_message(line, target.message, bytes_max)


def _write_session(record: SessionRecord, target: history_pb2.Session) -> None:
    target.session = record.session
    target.user = record.user
    target.flow = record.flow
    target.title = record.title
    target.metadata.SetInParent()
    to_struct(record.metadata, target.metadata)
    target.message_count = record.message_count
    write_time(record.create_time, target.create_time)
    write_time(record.update_time, target.update_time)
    target.retention_days = record.retention_days


def _write_message(record: MessageRecord, target: history_pb2.Message, bytes_max: int) -> None:
    target.message = message_id(record.turn, record.role)
    target.session = record.session
    target.user = record.user
    target.turn = record.turn
    target.role = record.role.value  # type: ignore[assignment]  # the numbers are the contract's
    text = record.content.get(record.text_of)
    target.text = text if isinstance(text, str) else ""
    target.content.SetInParent()
    to_struct(record.content, target.content)
    target.run = record.run
    target.flow = record.flow
    if record.status is not None:
        target.status = record.status.value  # type: ignore[assignment]
    write_usage(record, target.usage)
    write_time(record.create_time, target.create_time)
    target.rating = record.rating.value  # type: ignore[assignment]
    target.rating_comment = record.rating_comment
    if target.ByteSize() > bytes_max:
        _shorten(target, bytes_max)


def _shorten(message: history_pb2.Message, bytes_max: int) -> None:
    """Cuts the text, which the content holds, too; and leaves the content out where it alone is too large."""
    text, message.text = message.text.encode(), ""
    message.shortened = True
    room_bytes = bytes_max - LENGTH_BYTES
    if message.ByteSize() > room_bytes:
        message.content.Clear()
    message.text = text[: max(0, room_bytes - message.ByteSize())].decode(errors="ignore")
