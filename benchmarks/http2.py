"""The few bytes of HTTP/2 (RFC 9113) that open a gRPC call, for a client that then reads nothing.

An ordinary gRPC client reads for its application, so it cannot play this part. This one also opens its flow-control
windows as far as they go: nothing but the unread socket holds the server back.
"""

import struct

from benchmarks.subjects import TOKEN
from penstock.v1.flow_pb2 import InvokeRequest

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW_MAX = 2**31 - 1
_DATA, _HEADERS, _SETTINGS, _WINDOW_UPDATE = 0, 1, 4, 8
_END_STREAM, _END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE = 4
_WINDOW_DEFAULT = 65_535
_POST, _HTTP = b"\x83", b"\x86"
"""Entries of HPACK's static table (RFC 7541, appendix A)."""


def invoke_stream(authority: str, flow: str) -> bytes:
    """Everything that a client sends to call InvokeStream of a flow without inputs."""
    message = InvokeRequest(flow=flow).SerializeToString()
    return (
        PREFACE
        + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, WINDOW_MAX))
        + _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW_MAX - _WINDOW_DEFAULT))
        + _frame(_HEADERS, _END_HEADERS, 1, _header_block(authority))
        + _frame(_DATA, _END_STREAM, 1, struct.pack(">BI", 0, len(message)) + message)
    )


def _header_block(authority: str) -> bytes:
    fields = {
        ":authority": authority,
        ":path": "/penstock.v1.FlowService/InvokeStream",
        "te": "trailers",
        "content-type": "application/grpc",
        "authorization": f"Bearer {TOKEN}",
    }
    return _POST + _HTTP + b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields.items())


def _text(text: str) -> bytes:
    """A literal of fewer than 127 bytes, not Huffman-coded."""
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
