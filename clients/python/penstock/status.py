"""Errors on the wire: `google.rpc.Status` with the details that AIP-193 asks for.

Server, bridge and client all build and read errors here, so that a failure has one form wherever it arises.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from math import ceil
from typing import TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

M = TypeVar("M", ErrorInfo, BadRequest, RetryInfo)

DOMAIN = "penstock"
"""`ErrorInfo.domain` of every error."""

STATUS_DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata that carries the serialized Status (gRPC's richer error model)."""


class Code(IntEnum):
    """The codes of `google.rpc.Code`, which are those of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


Violation = tuple[str, str]
"""A field's path and what is wrong with it."""


def build(
    code: Code,
    reason: str,
    message: str,
    *,
    metadata: Mapping[str, str] | None = None,
    violations: Iterable[Violation] = (),
    retry_after_s: float | None = None,
) -> Status:
    """Builds the Status of an error; `reason` is a name of `penstock.v1.ErrorReason`."""
    details = [_packed(ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata or {}))]
    fields = [BadRequest.FieldViolation(field=field, description=text) for field, text in violations]
    if fields:
        details.append(_packed(BadRequest(field_violations=fields)))
    if retry_after_s is not None:
        details.append(_packed(RetryInfo(retry_delay=Duration(seconds=ceil(retry_after_s)))))
    return Status(code=code, message=message, details=details)


def error_info(status: Status) -> ErrorInfo:
    """The ErrorInfo among the details; an empty one where there is none."""
    return _first(status, ErrorInfo())


def bad_request(status: Status) -> BadRequest:
    """The BadRequest among the details; an empty one where there is none."""
    return _first(status, BadRequest())


def retry_after_s(status: Status) -> int | None:
    """How many seconds the caller should wait before it tries again; None where the error does not say."""
    info = _first(status, RetryInfo())
    return info.retry_delay.seconds if info.HasField("retry_delay") else None


def _packed(message: ErrorInfo | BadRequest | RetryInfo) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def _first(status: Status, target: M) -> M:
    for detail in status.details:
        if detail.Unpack(target):
            break
    return target
