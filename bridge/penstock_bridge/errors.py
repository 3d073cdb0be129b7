"""Failures as HTTP shows them: the ONE table from codes to statuses, and the AIP-193 body.

AIP-127 and `google.rpc.Code` give the status of a code; some reasons have one of their own.
"""

import logging
from collections.abc import Iterable, Mapping
from uuid import uuid4

import orjson
from google.rpc.status_pb2 import Status

from penstock import status as wire
from penstock.status import Code, Violation
from penstock.values import InvalidValue
from penstock_bridge.codec.encode import encoder

log = logging.getLogger(__name__)

Header = tuple[str, str]

HTTP_STATUS: dict[Code, int] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""The HTTP status of every gRPC code."""

HTTP_STATUS_BY_REASON: dict[str, int] = {
    "NOT_ACCEPTABLE": 406,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "METHOD_NOT_ALLOWED": 405,
    "MESSAGE_TOO_LARGE": 413,
    "RUN_TOO_LARGE": 413,
    "BODY_TIMEOUT": 408,
}
"""The reasons whose HTTP status is more exact than that of their code."""

RETRY_UNREACHABLE_S = 1


class Problem(Exception):
    """A failure that the HTTP caller is told about.

    Attributes:
        status: what failed, in the form that gRPC carries.
        http: the HTTP status.
        headers: headers of the answer that the failure calls for.
    """

    def __init__(self, status: Status, *, http: int | None = None, headers: Iterable[Header] = ()) -> None:
        super().__init__(status.message)
        self.status = status
        self.http = http or http_status(status)
        self.headers = [*_implied_headers(status, self.http), *headers]

    def body(self) -> bytes:
        """The error as AIP-193 prescribes it, in JSON."""
        return orjson.dumps(self.document())

    def document(self) -> dict[str, object]:
        """The same, for what is told beside it."""
        details = [encoder(detail.DESCRIPTOR)(detail) for detail in self.status.details]
        error = {
            "code": self.http,
            "status": _code(self.status).name,
            "message": self.status.message,
            "details": details,
        }
        return {"error": error}


def problem(
    code: Code,
    reason: str,
    message: str,
    *,
    http: int | None = None,
    headers: Iterable[Header] = (),
    metadata: Mapping[str, str] | None = None,
    violations: Iterable[Violation] = (),
    retry_after_s: float | None = None,
) -> Problem:
    """A failure of the bridge's own finding; `reason` is a name of `penstock.v1.ErrorReason`."""
    status = wire.build(code, reason, message, metadata=metadata, violations=violations, retry_after_s=retry_after_s)
    return Problem(status, http=http, headers=headers)


def invalid_request(message: str, *, http: int | None = None, violations: Iterable[Violation] = ()) -> Problem:
    """The request does not have the form that the contract asks for."""
    return problem(Code.INVALID_ARGUMENT, "INVALID_REQUEST", message, http=http, violations=violations)


def invalid_value(error: InvalidValue, root: str = "") -> Problem:
    """A JSON value that does not fit; `root` is the field that the document as a whole stands for."""
    field = error.field(root).lstrip(".")
    if not field:
        return invalid_request(f"The body: {error.description}")
    return invalid_request(f"{field}: {error.description}", violations=[(field, error.description)])


def unreachable() -> Problem:
    """Nobody answers behind the bridge."""
    return problem(
        Code.UNAVAILABLE,
        "SERVER_UNREACHABLE",
        "The server behind this bridge does not answer; try again in a moment",
        retry_after_s=RETRY_UNREACHABLE_S,
    )


def defect(error: BaseException) -> Problem:
    """A fault of ours: the caller gets a number, the log gets the rest."""
    incident = uuid4().hex
    log.error("incident %s", incident, exc_info=error)
    return problem(
        Code.INTERNAL,
        "INTERNAL",
        f"The bridge failed; its log has the details under {incident}",
        metadata={"incident": incident},
    )


def headers_too_large() -> Problem:
    """The headers hold more than may be passed on (RFC 6585)."""
    return invalid_request("The request's headers are larger than the service's limit", http=431)


def http_status(status: Status) -> int:
    """The HTTP status of a failure."""
    return HTTP_STATUS_BY_REASON.get(wire.error_info(status).reason) or HTTP_STATUS[_code(status)]


def _implied_headers(status: Status, http: int) -> list[Header]:
    headers = []
    if http == 401:
        headers.append(("WWW-Authenticate", "Bearer"))
    retry_after_s = wire.retry_after_s(status)
    if retry_after_s is not None:
        headers.append(("Retry-After", str(retry_after_s)))
    return headers


def _code(status: Status) -> Code:
    try:
        return Code(status.code)
    except ValueError:
        return Code.UNKNOWN
