"""Ids of runs and sessions: 32 hexadecimal digits that nobody can guess.

Whoever knows a session's id may reach it, so the digits come from the operating system's generator. Asking it for many
at once spares a system call for each.
"""

from os import urandom

ID_BYTES = 16
STOCK_BYTES = 256 * ID_BYTES

_stock = bytearray()


def new_id() -> str:
    """An id that has not been given out before. Not for processes that fork: both would give out the same."""
    if not _stock:
        _stock.extend(urandom(STOCK_BYTES))
    digits = _stock[-ID_BYTES:].hex()
    del _stock[-ID_BYTES:]
    return digits
