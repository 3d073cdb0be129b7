"""Searches in MySQL's FULLTEXT index.

For each word that the index is asked for, it goes through all messages that it lists, and each message that holds all
the words is fetched before it is known how new it is. What a word costs is found out from the newest messages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, select
from sqlalchemy.dialects.mysql import match

from penstock_server.store.sql.history.newest import FIRST_LOOK_ROWS, IndexUse, newest

COMMON = FIRST_LOOK_ROWS // 500
"""A word that more of so many messages hold is common: the index would find thousands."""
AVOIDED_COMMON_S = 0.5
AVOIDED_RARE_S = 0.06
"""How long a search may look through messages to spare the index, in seconds: the index is slower than that where it
has thousands of messages to fetch from the disk, and the more so where others keep the machine busy."""
FETCHED_COST = 30
"""What it costs to fetch a message that the index has found, in messages that it lists for a word: 15 where the buffer
pool holds all of them, and 150 where they are read from the disk."""
TOKENS_WEIGHED_MAX = 32
"""Of how many tokens of a query it is found out how common they are."""


def find(
    connection: Connection, words: Any, tokens: Sequence[str], *, first: int, below: int, limit: int
) -> Sequence[int]:
    """See `database.Dialect.find_words`.

    Args:
        words: the table, with a `message_key` and the `words`.
    """
    return newest(
        connection,
        words,
        and_(*(_holds(words, token) for token in tokens)),
        lambda sample: _index_use(words, tokens, _weighed(connection, words, tokens, sample)),
        first=first,
        below=below,
        limit=limit,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    """How common tokens are in a sample of messages."""

    counts: Mapping[str, int]
    """How many messages hold each, the rarest first."""
    beside: Sequence[frozenset[str]]
    """Of each message that holds the rarest: which of the others it holds."""


def _weighed(connection: Connection, words: Any, tokens: Sequence[str], sample: ColumnElement[bool]) -> _Weighed:
    holds = {token: _holds(words, token) for token in tokens[:TOKENS_WEIGHED_MAX]}
    counting = select(*(func.count(case((held, 1))) for held in holds.values())).where(sample)
    counted = zip(holds, connection.execute(counting).one(), strict=True)
    counts = dict(sorted(counted, key=lambda each: each[1]))
    rarest, *others = counts
    if not others or not counts[rarest]:
        return _Weighed(counts=counts, beside=[])
    held = connection.execute(select(*(holds[token] for token in others)).where(sample, holds[rarest]))
    return _Weighed(counts=counts, beside=[frozenset(compress(others, row)) for row in held])


def _index_use(words: Any, tokens: Sequence[str], weighed: _Weighed) -> IndexUse:
    """How the index is asked: for one word more only where that saves more than it costs.

    What it is not asked for is looked for in what was fetched.
    """
    rarest, *others = weighed.counts
    asked, fetched = [rarest], weighed.beside
    for token in others:
        left = [held for held in fetched if token in held]
        # What is rare is asked for in any case: the sample does not know how rare it is.
        if weighed.counts[token] <= FETCHED_COST * max(len(fetched) - len(left), 1):
            asked.append(token)
            fetched = left
    by_index = match(words.c.words, against=" ".join(f"+{token}" for token in asked)).in_boolean_mode()
    looked_for = (_holds(words, token) for token in tokens if token not in asked)
    avoided_s = AVOIDED_COMMON_S if weighed.counts[rarest] > COMMON else AVOIDED_RARE_S
    return IndexUse(condition=and_(by_index, *looked_for), avoided_s=avoided_s)


def _holds(words: Any, token: str) -> ColumnElement[bool]:
    return func.concat(" ", words.c.words, " ").like(f"% {token} %")
