"""Pages of rows, and the bounds of what they hold."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement

from penstock_server.store.records import Cursor, Page, TimeRange
from penstock_server.store.sql.keys import first_key, to_us

PAGE_CHARS_MAX = 500_000
"""A page holds at most so many characters of contents, or a single item with more. Clients refuse answers over 4 MiB
unless told otherwise; a character may take three bytes, and text is sent twice, as itself and within its content."""
KEY_MAX = 2**63 - 1

T = TypeVar("T")


def take(
    rows: Iterable[Any],
    size: int,
    record: Callable[[Any], T],
    position: Callable[[Any], Cursor],
    *,
    chars: Callable[[Any], int] = lambda row: 0,
) -> Page[T]:
    """A page of the first rows. There is another page where a row is left over.

    Args:
        rows: at least one more than `size`, where there are so many.
        position: the sort keys of a row.
        chars: how much of `PAGE_CHARS_MAX` a row takes.
    """
    items: list[T] = []
    last: Cursor | None = None
    taken = 0
    for row in rows:
        taken += chars(row)
        if len(items) == size or (items and taken > PAGE_CHARS_MAX):
            return Page(items=items, next=last)
        items.append(record(row))
        last = position(row)
    return Page(items=items, next=None)


def within(time_us: Column[int], times: TimeRange) -> list[ColumnElement[bool]]:
    """What a time has to be to lie in the range."""
    conditions: list[ColumnElement[bool]] = []
    if times.start is not None:
        conditions.append(time_us >= to_us(times.start))
    if times.end is not None:
        conditions.append(time_us < to_us(times.end))
    return conditions


def key_bound(time: datetime) -> int:
    """The smallest key of this time, or the nearest number that a database can compare keys with."""
    return min(max(first_key(to_us(time)), 0), KEY_MAX)
