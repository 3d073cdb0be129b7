"""Keys of rows: numbers that begin with the time and need no database to make.

A key is the microsecond (51 bits, enough until 2041) and 12 random bits. A process never makes the same twice, nor one
that is smaller than the one before at the same time; should two processes ever make the same, the database refuses the
second, and the transaction is tried again with new ones.
"""

from datetime import UTC, datetime, timedelta
from secrets import randbelow, randbits

RANDOM_BITS = 12
TIME_US_MAX = 2**51 - 1
"""The last time that has keys, in May 2041."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Keys:
    """Makes keys. Not for several threads at once."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, time_us: int) -> int:
        """A new key for something that happened at this time."""
        key = time_us << RANDOM_BITS | randbits(RANDOM_BITS)
        if self._last >> RANDOM_BITS == time_us:
            key = self._last + 1
        self._last = key
        return key


class SpreadKeys(Keys):
    """Makes keys for what was noted by the second or the millisecond elsewhere.

    Ten thousand things may have happened at the same time there, more than a microsecond has keys. So they are spread,
    by chance, over the second or the millisecond that the time means.
    """

    def next(self, time_us: int) -> int:
        """See `Keys`."""
        unit_us = next(unit_us for unit_us in (1_000_000, 1_000, 1) if time_us % unit_us == 0)
        return (time_us + randbelow(unit_us)) << RANDOM_BITS | randbits(RANDOM_BITS)


def first_key(time_us: int) -> int:
    """The smallest key of this time."""
    return time_us << RANDOM_BITS


def to_us(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - EPOCH) // MICROSECOND


def from_us(time_us: int) -> datetime:
    """The time of so many microseconds since 1970."""
    return EPOCH + timedelta(microseconds=time_us)
