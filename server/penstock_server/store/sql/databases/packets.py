"""How long a statement to MySQL may be.

The server closes the connection on one that is longer than its `max_allowed_packet`, and what its client then sees
looks like a server that died. So it is not sent.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, event

from penstock_server.errors import RunTooLarge
from penstock_server.store.errors import StoreError

PACKET_BYTES_MIN = 1024 * 1024
"""The driver joins the rows of one INSERT up to 1,024,000 bytes."""
PACKET_BYTES = "packet_bytes_max"
"""Under what name a connection knows its server's limit."""
OVERHEAD_BYTES = 16 * 1024
"""What a statement is at most beside its long texts."""
CHAR_BYTES_MAX = 4
"""In UTF-8. What is escaped has two."""
ESCAPED = (b"\0", b"\n", b"\r", b"\x1a", b'"', b"'", b"\\")
"""What the driver writes with a backslash before it."""

Row = Sequence[Any]


def limit_packets(engine: Engine) -> None:
    """Has statements refused that the server would not take.

    They raise RunTooLarge; connecting raises StoreError where the server takes hardly anything.
    """

    @event.listens_for(engine, "connect")
    def ask(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SELECT @@max_allowed_packet")
        (bytes_max,) = cursor.fetchone()
        cursor.close()
        if bytes_max < PACKET_BYTES_MIN:
            raise StoreError(
                f"the store takes statements of {bytes_max} bytes at most; set max_allowed_packet of the database's "
                "server to 64M"
            )
        record.info[PACKET_BYTES] = bytes_max

    @event.listens_for(engine, "before_cursor_execute")
    def check(connection: Connection, _: Any, __: str, parameters: Any, ___: Any, executemany: bool) -> None:
        bytes_max = connection.info[PACKET_BYTES] - OVERHEAD_BYTES
        for row in parameters if executemany else (parameters,):
            texts = [value for value in row if isinstance(value, str | bytes)]
            if sum(map(len, texts)) * CHAR_BYTES_MAX > bytes_max:
                _check_exactly(texts, bytes_max)


def _check_exactly(texts: Iterable[str | bytes], bytes_max: int) -> None:
    size = sum(map(_escaped_bytes, texts))
    if size > bytes_max:
        raise RunTooLarge(
            f"what is to be stored in one piece is {size} bytes long, with all that has to be escaped in it, and the "
            f"database takes {bytes_max}; a larger max_allowed_packet of its server helps"
        )


def _escaped_bytes(text: str | bytes) -> int:
    data = text if isinstance(text, bytes) else text.encode()
    return len(data) + sum(map(data.count, ESCAPED))
