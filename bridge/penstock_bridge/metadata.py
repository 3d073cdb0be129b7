"""Headers to call metadata and back: the names are the same, in lower case."""

import re
from collections.abc import Iterable
from functools import lru_cache

from multidict import CIMultiDictProxy

from penstock_bridge.errors import Header, Problem, headers_too_large, invalid_request

PASSED_ON = ("Authorization", "Chat-Session-Id", "Chat-User-Id", "Idempotency-Key", "traceparent", "tracestate")
"""Request headers that reach the server."""

_RUN_ID = "penstock-run-id"

RETURNED = {
    "chat-session-id": "Chat-Session-Id",
    _RUN_ID: "Penstock-Run-Id",
    "penstock-trace-id": "Penstock-Trace-Id",
}
"""Response metadata that reaches the caller, and the headers that it becomes."""

TIMEOUT = "Grpc-Timeout"

Metadata = tuple[tuple[str, str], ...]

_NAMES = tuple((name, name.lower()) for name in PASSED_ON)
# HTTP/2 counts 32 bytes for each entry beside its text (RFC 9113 §6.5.2); gRPC's own entries need room, too.
_ENTRY_BYTES = 32
_RESERVED_BYTES = 1024


def request_metadata(headers: CIMultiDictProxy[str], bytes_max: int) -> Metadata:
    """The metadata of the call that a request leads to.

    Raises:
        Problem: INVALID_REQUEST, a header holds what gRPC metadata cannot (anything but printable ASCII), is given
            twice, or all together are larger than `bytes_max`.
    """
    passed = []
    size = _RESERVED_BYTES
    for name, key in _NAMES:
        if name not in headers:
            continue
        value = headers[name]
        if not (value.isascii() and value.isprintable()):
            raise _wrong(name, "may hold printable ASCII only; send other text percent-encoded")
        if len(headers.getall(name)) > 1:
            raise _wrong(name, "is given twice")
        size += len(key) + len(value) + _ENTRY_BYTES
        passed.append((key, value))
    if size > bytes_max:
        raise headers_too_large()
    return tuple(passed)


def response_headers(metadata: Iterable[tuple[str, str | bytes]] | None) -> list[Header]:
    """The headers that the server's metadata becomes."""
    headers = []
    for key, value in metadata or ():
        name = RETURNED.get(key)
        if name is not None and isinstance(value, str) and value.isascii() and value.isprintable():
            headers.append((name, value))
    return headers


def accepted(metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Whether the server's metadata names a run, which only a call that was accepted has."""
    return any(key == _RUN_ID for key, _ in metadata or ())


def timeout_s(value: str | None) -> float | None:
    """The deadline that `Grpc-Timeout` asks for, in seconds from now; None without one.

    The form is gRPC's: at most eight digits and a unit, such as `1500m` for a second and a half.

    Raises:
        Problem: INVALID_REQUEST, it has another form.
    """
    return None if value is None else _timeout_s(value)


@lru_cache(maxsize=64)
def _timeout_s(value: str) -> float:
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise _wrong(TIMEOUT, "must be one to eight digits and a unit of H, M, S, m, u or n, such as 1500m")
    return int(match["amount"]) * _UNITS_S[match["unit"]]


_TIMEOUT = re.compile(r"(?P<amount>[0-9]{1,8})(?P<unit>[HMSmun])", re.ASCII)
_UNITS_S = {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def _wrong(name: str, why: str) -> Problem:
    return invalid_request(f"The header {name} {why}", violations=[(name, why)])
