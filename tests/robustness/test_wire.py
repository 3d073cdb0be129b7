"""The proxy sees a COMMIT wherever the network cuts the stream into pieces."""

import struct

import pytest
from tests.robustness.wire import Frames, MySqlFrames, PostgreSqlFrames


def mysql(payload: bytes) -> bytes:
    """A packet."""
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def postgresql(kind: bytes, payload: bytes) -> bytes:
    """A message."""
    return kind + struct.pack(">I", len(payload) + 4) + payload


STARTUP = postgresql(b"", struct.pack(">I", 80_877_103)) + postgresql(b"", struct.pack(">I", 196_608) + b"user\0me\0\0")
MYSQL_BEFORE = mysql(b"\x85\xa6\x03 handshake") + mysql(b"\x03INSERT INTO t VALUES ('COMMIT')")
POSTGRESQL_BEFORE = STARTUP + postgresql(b"Q", b"SELECT 'COMMIT'\0") + postgresql(b"S", b"")
EXTENDED = postgresql(b"P", b"\0COMMIT\0\0\0") + postgresql(b"E", b"\0\0\0\0\0") + postgresql(b"S", b"")

STREAMS = [
    (MySqlFrames, MYSQL_BEFORE, mysql(b"\x03COMMIT"), mysql(b"\x03SELECT 1")),
    (PostgreSqlFrames, POSTGRESQL_BEFORE, postgresql(b"Q", b"COMMIT;\0"), postgresql(b"Q", b"SELECT 1\0")),
    (PostgreSqlFrames, POSTGRESQL_BEFORE, EXTENDED, postgresql(b"Q", b"SELECT 1\0")),
]


@pytest.mark.parametrize(("frames", "before", "commit", "after"), STREAMS, ids=["mysql", "simple", "extended"])
@pytest.mark.parametrize("piece_bytes", [1, 3, 7, 1000])
def test_the_end_of_the_commit_is_found(
    frames: type[Frames], before: bytes, commit: bytes, after: bytes, piece_bytes: int
) -> None:
    reader, stream = frames(), before + commit + after
    found = []
    for start in range(0, len(stream), piece_bytes):
        end = reader.commit_end(stream[start : start + piece_bytes])
        if end:
            found.append(start + end)
    assert found == [len(before) + len(commit)]
