"""The error that a call ends with."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.rpc.status_pb2 import Status

from penstock import status
from penstock.status import Code, Violation


class PenstockError(Exception):
    """A call that did not succeed (contract: Errors; AIP-193).

    Attributes:
        code: what kind of failure it is.
        reason: why, as a name of `penstock.v1.ErrorReason`; empty where the service did not get to say.
        message: a sentence for people.
        metadata: facts for programs, such as the `flow`, the `node` and the `run`.
        violations: the fields of the request that are wrong, each with a description.
        retry_after_s: when another try makes sense, in seconds; None where the service does not say.
    """

    def __init__(
        self,
        code: Code,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = violations
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.code.name}{f' ({self.reason})' if self.reason else ''}: {self.message}"

    @classmethod
    def of_status(cls, found: Status) -> "PenstockError":
        """The error that a `google.rpc.Status` describes."""
        info = status.error_info(found)
        violations = status.bad_request(found).field_violations
        return cls(
            Code(found.code),
            info.reason,
            found.message,
            metadata=info.metadata,
            violations=tuple((violation.field, violation.description) for violation in violations),
            retry_after_s=status.retry_after_s(found),
        )

    @classmethod
    def of_rpc(cls, error: grpc.RpcError) -> "PenstockError":
        """The error that a call of a generated stub raised, synchronous or not."""
        trailing: Iterable[Any] = error.trailing_metadata() or ()
        details = next((value for key, value in trailing if key == status.STATUS_DETAILS_KEY), None)
        if isinstance(details, bytes):
            return cls.of_status(Status.FromString(details))
        return cls(Code(error.code().value[0]), "", error.details() or "the call failed without a word")
