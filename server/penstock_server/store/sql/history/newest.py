"""Finds the newest rows of a table of words where an index of words knows no order.

MySQL and PostgreSQL take all that an index of words lists, however much that is, fetch those rows from wherever they
lie, and sort them. So the newest messages are looked through first, which lie side by side: what is common enough to
make a long list is found there often enough to fill a page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select

FIRST_LOOK_ROWS = 5_000
"""How many rows are looked through whatever the words are. It takes about 7 ms."""
MARGIN = 1.25
"""By how much a look goes further than the one before makes it seem necessary."""
GROWTH_MAX = 8
"""By how much a look is wider than all before it together, at most."""

Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexUse:
    """How an index of words is asked."""

    condition: Condition
    """That a row holds the words, said to the index."""
    avoided_s: float
    """How long looking may take in all, in seconds, if that fills the page and so spares the index."""


def newest(
    connection: Connection,
    words: Any,
    by_looking: Condition,
    by_index: Callable[[Condition], IndexUse],
    *,
    first: int,
    below: int,
    limit: int,
) -> Sequence[int]:
    """The keys of the newest rows that hold the words, the newest first.

    Args:
        words: the table; it has a `message_key`.
        by_looking: that a row holds the words, said so that no index answers it.
        by_index: says how the index is to be asked; it gets a condition that `FIRST_LOOK_ROWS` rows meet.
        first: only this key and those above.
        below: only keys below this one.
        limit: how many at most.
    """
    key = words.c.message_key
    keys: list[int] = []
    use: IndexUse | None = None
    looked, took_s, rows = 0, 0.0, FIRST_LOOK_ROWS
    while True:
        start_s = monotonic()
        # Where the look ends; nowhere, if fewer rows are left.
        last = select(key).where(key >= first, key < below).order_by(key.desc()).limit(1).offset(rows - 1)
        edge = connection.scalar(last)
        seen = and_(key >= (first if edge is None else edge), key < below)
        found = select(key).where(seen, by_looking).order_by(key.desc())
        keys += connection.scalars(found.limit(limit - len(keys)))
        if edge is None or len(keys) == limit:
            return keys
        below, looked, took_s = edge, looked + rows, took_s + monotonic() - start_s
        use = use or by_index(seen)
        rows = _next_look(looked, took_s, max(len(keys), 0.5) / limit, use.avoided_s)
        if not rows:
            break
    # Ordered by no index: PostgreSQL would read all rows in their order, hoping to find enough of a rare word soon.
    rest = select(key).where(key >= first, key < below, use.condition).order_by((key + 0).desc())
    return [*keys, *connection.scalars(rest.limit(limit - len(keys)))]


def _next_look(looked: int, took_s: float, found: float, most_s: float) -> int:
    """How many rows to look through next; none where the page is not likely to be full in time.

    Args:
        looked: how many rows have been looked through.
        took_s: how long that took, in seconds.
        found: which part of the page that filled.
        most_s: how long it may take in all, in seconds.
    """
    if took_s / found > most_s:
        return 0
    return min(ceil(MARGIN * looked * (1 / found - 1)), GROWTH_MAX * looked)
