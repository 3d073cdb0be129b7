"""Pages of a list (AIP-158): their size, and the tokens by which the next one is asked for.

A token holds where the page before ended, not how many items there were, so that items which come or go meanwhile
change no page that follows. It is bound to its query, and a digest of both finds out what was altered or made up. It
opens no door: whoever reads on is asked for the same rights again.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b

from penstock_server.errors import InvalidRequest
from penstock_server.store.records import Cursor, Role

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1000
DIGEST_BYTES = 8

KEYS = range(2**63)
"""The numbers that keys and times are among, and a page's position with them."""
TURNS = range(2**31)
ROLES = range(max(Role) + 1)


def page_size(asked: int) -> int:
    """How many items a page holds at most; 0 asks for the default, and too many for as many as there may be.

    Raises:
        InvalidRequest: the number is negative.
    """
    if asked < 0:
        raise InvalidRequest.of([("pageSize", "must not be negative")])
    return min(asked or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def page_token(query: object, next: Cursor | None) -> str:
    """Asks for the page that begins behind this position; empty where there is none.

    Args:
        query: the method, and all that decides which items there are and how they follow each other. It must print
            the same whenever it is the same.
    """
    if next is None:
        return ""
    packed = struct.pack(f">{len(next)}q", *next)
    return urlsafe_b64encode(_digest(query, packed) + packed).decode().rstrip("=")


def position(query: object, token: str, numbers: Sequence[range] = (KEYS,)) -> Cursor | None:
    """Where the page before ended; None for the first page.

    Args:
        numbers: among what each number of this query's positions is. Whoever knows the query can make a token for it,
            so the digest keeps no number from a database that cannot compare with it.

    Raises:
        InvalidRequest: the token is of another query, or of nobody's making.
    """
    if not token:
        return None
    try:
        data = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        digest, packed = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        if digest == _digest(query, packed) and token == urlsafe_b64encode(data).decode().rstrip("="):
            found = struct.unpack(f">{len(numbers)}q", packed)
            if all(number in possible for number, possible in zip(found, numbers, strict=True)):
                return found
    except (ValueError, struct.error):
        pass
    raise InvalidRequest.of([("pageToken", "is not one that this method gave for the same request")])


def _digest(query: object, packed: bytes) -> bytes:
    return blake2b(packed + repr(query).encode("utf-8", "backslashreplace"), digest_size=DIGEST_BYTES).digest()
