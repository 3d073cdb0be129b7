"""Times on the wire."""

from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from penstock_server.errors import InvalidRequest
from penstock_server.store.records import TimeRange

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_S = 24 * 60 * 60


def write_time(time: datetime | None, target: Timestamp) -> None:
    """Sets a timestamp, if there is a time."""
    # Timestamp.FromDatetime does the same in several times the time, and every answer holds three of these.
    if time is not None:
        elapsed = time - EPOCH
        target.seconds = elapsed.days * DAY_S + elapsed.seconds
        target.nanos = elapsed.microseconds * 1000


def time_range(request: Message) -> TimeRange:
    """The range between a request's `start_time` and `end_time`.

    Raises:
        InvalidRequest: one of them is no time, or the range ends before it begins.
    """
    start, end = _read(request, "start_time", "startTime"), _read(request, "end_time", "endTime")
    if start is not None and end is not None and end < start:
        raise InvalidRequest.of([("endTime", "lies before startTime")])
    return TimeRange(start=start, end=end)


def _read(request: Message, field: str, shown: str) -> datetime | None:
    if not request.HasField(field):
        return None
    time: Timestamp = getattr(request, field)
    try:
        if 0 <= time.nanos < 1_000_000_000:
            return EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)
    except OverflowError:
        pass
    raise InvalidRequest.of([(shown, "is not a time between the years 1 and 9999")])
