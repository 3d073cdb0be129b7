"""Failures of calls to the server, as the bridge's callers see them."""

import logging
import re
from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from penstock.status import STATUS_DETAILS_KEY, Code
from penstock_bridge.errors import Header, Problem, headers_too_large, problem, unreachable
from penstock_bridge.metadata import response_headers

log = logging.getLogger(__name__)


def from_rpc(error: grpc.aio.AioRpcError) -> Problem:
    """The failure of a call: as the server described it, or described here where gRPC itself failed.

    What the server said of the session and the run comes along as headers, wherever it said so.
    """
    found = _described(error) or _undescribed(Code(error.code().value[0]), error.details() or "")
    found.headers += _returned(error)
    return found


def _returned(error: grpc.aio.AioRpcError) -> Iterable[Header]:
    metadata: list[Any] = [error.initial_metadata(), error.trailing_metadata()]
    return dict(header for each in metadata for header in response_headers(each)).items()


def _described(error: grpc.aio.AioRpcError) -> Problem | None:
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            try:
                status = Status.FromString(value)
            except DecodeError:
                return None
            return Problem(status) if status.code == error.code().value[0] else None
    return None


def _undescribed(code: Code, details: str) -> Problem:
    """A failure without a Status: gRPC's own, whose text is for its developers, or a proxy's."""
    if code in (Code.UNAVAILABLE, Code.CANCELLED):  # a server that stops cancels what it has not ended
        return unreachable()
    if code == Code.RESOURCE_EXHAUSTED and _METADATA_TOO_LARGE.search(details):
        return headers_too_large()
    if code == Code.RESOURCE_EXHAUSTED and _MESSAGE_TOO_LARGE.search(details):
        return problem(code, "MESSAGE_TOO_LARGE", "The message is larger than the service's limit")
    if code in _SAID:
        return problem(code, *_SAID[code])
    log.warning("the server failed without a description: %s %s", code.name, details)
    return problem(Code.INTERNAL, "INTERNAL", "The server failed without a description")


_METADATA_TOO_LARGE = re.compile(r"metadata size exceeds", re.IGNORECASE)
_MESSAGE_TOO_LARGE = re.compile(r"message larger than max", re.IGNORECASE)

_SAID: dict[Code, tuple[str, str]] = {
    Code.DEADLINE_EXCEEDED: ("DEADLINE_EXCEEDED", "The call's deadline passed"),
    Code.RESOURCE_EXHAUSTED: ("TOO_MANY_RUNS", "The server has no room for this call now"),
    Code.UNIMPLEMENTED: ("METHOD_NOT_FOUND", "The server does not offer this method"),
    Code.UNAUTHENTICATED: ("TOKEN_INVALID", "The bearer token is not valid"),
    Code.PERMISSION_DENIED: ("NOT_ALLOWED", "The token does not allow this"),
    Code.INVALID_ARGUMENT: ("INVALID_REQUEST", "The server refused the request"),
}
"""What is said where gRPC or a proxy ends a call without a Status of ours."""
