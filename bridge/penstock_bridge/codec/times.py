"""`google.protobuf.Timestamp` as text (RFC 3339)."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp_text(message: Any) -> str:
    """A Timestamp as RFC 3339 text in UTC, with 0, 3, 6 or 9 digits of fraction.

    Raises:
        ValueError: it lies outside the years 1 to 9999, or its nanoseconds outside a second.
    """
    nanos = message.nanos
    if not 0 <= nanos < 1_000_000_000:
        raise ValueError(f"{nanos} nanoseconds are not within a second")
    return f"{_second(message.seconds)}{_fraction(nanos)}Z"


# The times of one answer lie within the same few seconds.
@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    except OverflowError:
        raise ValueError(f"{seconds} seconds lie outside the years 1 to 9999") from None


def _fraction(nanos: int) -> str:
    if nanos == 0:
        return ""
    if nanos % 1_000_000 == 0:
        return f".{nanos // 1_000_000:03d}"
    if nanos % 1000 == 0:
        return f".{nanos // 1000:06d}"
    return f".{nanos:09d}"
