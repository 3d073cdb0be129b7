"""Finds the newest rows of a table of words where an index of words knows no order.

MySQL and PostgreSQL take all that an index of words lists, however much that is, and sort it. So the newest messages
are looked through one by one first: a word that is common enough to make a long list is found there often enough to
fill a page.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

Condition = ColumnElement[bool]


def newest(
    connection: Connection,
    words: Any,
    by_looking: Condition,
    by_index: Callable[[], Condition],
    *,
    first: int,
    below: int,
    limit: int,
    looked_through: int,
) -> Sequence[int]:
    """The keys of the newest rows that hold the words, the newest first.

    Args:
        words: the table; it has a `message_key`.
        by_looking: that a row holds the words, said so that no index answers it.
        by_index: makes the same, said to the index.
        first: only this key and those above.
        below: only keys below this one.
        limit: how many at most.
        looked_through: how many rows are looked through before the index is asked.
    """
    key = words.c.message_key
    within = key >= first, key < below
    nth = select(key).where(*within).order_by(key.desc()).limit(1).offset(looked_through)
    edge = connection.scalar(nth)

    looked_at = select(key).where(*within, by_looking).order_by(key.desc())
    if edge is None:
        return connection.scalars(looked_at.limit(limit)).all()
    keys = connection.scalars(looked_at.where(key > edge).limit(limit)).all()
    if len(keys) == limit:
        return keys
    # Ordered by no index: PostgreSQL would read all rows in their order, hoping to find enough of a rare word soon.
    rest = select(key).where(*within, by_index(), key <= edge).order_by((key + 0).desc())
    return [*keys, *connection.scalars(rest.limit(limit - len(keys)))]
