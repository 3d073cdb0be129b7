"""As much of two databases' wire protocols as it takes to see a COMMIT go by.

MySQL: "Client/Server Protocol", packets and COM_QUERY. PostgreSQL: "Frontend/Backend Protocol", message formats.
"""

import struct
from typing import Protocol

_MYSQL_HEADER_BYTES = 4
_COM_QUERY = 0x03
_POSTGRESQL_SSL_REQUEST = 80_877_103
_POSTGRESQL_GSS_REQUEST = 80_877_104


class Frames(Protocol):
    """What a client sends, frame by frame. Each connection has one of its own."""

    def commit_end(self, data: bytes) -> int:
        """How many bytes of `data` there are up to the end of the first frame that asks for a commit; 0 without one.

        `data` continues what was given before.
        """


class MySqlFrames:
    """Packets: three bytes of length, one of sequence."""

    def __init__(self) -> None:
        self._pending = b""

    def commit_end(self, data: bytes) -> int:
        """See `Frames`."""
        read, found = -len(self._pending), 0
        self._pending += data
        while len(self._pending) >= _MYSQL_HEADER_BYTES:
            end = _MYSQL_HEADER_BYTES + int.from_bytes(self._pending[:3], "little")
            if len(self._pending) < end:
                break
            payload, self._pending = self._pending[_MYSQL_HEADER_BYTES:end], self._pending[end:]
            read += end
            if not found and payload[:1] == bytes([_COM_QUERY]) and _is_commit(payload[1:]):
                found = read
        return found


class PostgreSqlFrames:
    """Messages: a type, four bytes of length that count themselves; the first ones of a connection have no type."""

    def __init__(self) -> None:
        self._pending = b""
        self._started = False
        self._parsed_commit = False

    def commit_end(self, data: bytes) -> int:
        """See `Frames`. A commit by the extended protocol ends with its Sync."""
        read, found = -len(self._pending), 0
        self._pending += data
        while frame := self._take():
            kind, payload, size = frame
            read += size
            self._parsed_commit |= kind == b"P" and _is_commit(payload.partition(b"\0")[2])
            if (kind == b"Q" and _is_commit(payload)) or (kind == b"S" and self._parsed_commit):
                found, self._parsed_commit = found or read, False
        return found

    def _take(self) -> tuple[bytes, bytes, int] | None:
        """The next whole message: its type, its payload and its size."""
        head = 1 if self._started else 0
        if len(self._pending) < head + 4:
            return None
        end = head + int.from_bytes(self._pending[head : head + 4], "big")
        if len(self._pending) < end:
            return None
        kind, payload = self._pending[:head], self._pending[head + 4 : end]
        self._pending = self._pending[end:]
        if not head:
            (code,) = struct.unpack_from(">I", payload)
            self._started = code not in (_POSTGRESQL_SSL_REQUEST, _POSTGRESQL_GSS_REQUEST)
        return kind, payload, end


def _is_commit(text: bytes) -> bool:
    return text.strip(b" ;\0").upper().startswith(b"COMMIT")
