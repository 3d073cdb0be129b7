"""What an answer has room for: whatever is stored, pages and exports come in parts that can be sent."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from google.protobuf.message import Message

from penstock.v1 import history_pb2
from penstock_server.history.export import Line
from penstock_server.services.historymessages import write_record
from penstock_server.store.records import Page

ENVELOPE_BYTES = 256
"""What an answer holds besides its items: a token, and tags and lengths."""
TAG_BYTES = 8
"""What an item takes within an answer besides its own fields."""

T = TypeVar("T")
Answer = TypeVar("Answer", bound=Message)


class Room:
    """Cuts answers.

    Args:
        answer_bytes_max: the largest message that is sent.
    """

    def __init__(self, answer_bytes_max: int) -> None:
        self._answer_bytes_max = answer_bytes_max
        self.item_bytes_max = answer_bytes_max - ENVELOPE_BYTES
        """How large an item may be."""

    async def page(
        self, size: int, read: Callable[[int], Awaitable[Page[T]]], answer: Callable[[Page[T]], Answer]
    ) -> Answer:
        """The answer with the longest page that it has room for, roughly.

        Args:
            size: how many items it may hold at most.
            read: reads a page of so many items.
            answer: makes the answer with a page.
        """
        while True:
            page = await read(size)
            made = answer(page)
            if len(page.items) < 2 or made.ByteSize() <= self._answer_bytes_max:
                return made
            size = len(page.items) // 2

    def parts(self, lines: Iterable[Line]) -> Iterator[history_pb2.ExportMessagesResponse]:
        """Lines of an export, in as many answers as they need."""
        part, taken_bytes = history_pb2.ExportMessagesResponse(), 0
        for line in lines:
            record = history_pb2.ExportRecord()
            write_record(line, record, self.item_bytes_max)
            record_bytes = record.ByteSize() + TAG_BYTES
            if part.records and taken_bytes + record_bytes > self._answer_bytes_max:
                yield part
                part, taken_bytes = history_pb2.ExportMessagesResponse(), 0
            part.records.append(record)
            taken_bytes += record_bytes
        if part.records:
            yield part
