"""Domain errors, and the one table that says how each looks from outside.

    Failure
    ├── InvalidRequest          the request itself is wrong; names the fields
    ├── InputRefused            the flow raised `penstock.flow.InvalidInput`
    ├── TokenInvalid, NotAllowed
    ├── FlowNotFound, SessionNotFound, RunNotFound, MessageNotFound
    ├── IdempotencyKeyReused, StoreDisabled, CursorExpired
    ├── MessageTooLarge, RunTooLarge, TooManyRuns, SessionBusy
    ├── FlowFailed              the flow's own code raised
    ├── UpstreamUnavailable, ModelRefused
    ├── RunCanceled, DeadlineExceeded, ReaderStalled, SearchTimeout
    ├── Draining, RunInterrupted, StoreUnavailable
    └── Defect                  anything that none of us foresaw

They are raised where the fact is known, travel up untouched and are translated once, by `interceptors.errors`.
"""

from collections.abc import Mapping, Sequence

from google.rpc.status_pb2 import Status

from penstock import status
from penstock.status import Code, Violation


class Failure(Exception):
    """A failure that the caller is told about.

    Attributes:
        message: a sentence for people; it says what to do where something can be done.
        metadata: facts for programs, such as the `flow` and the `node`.
        violations: the fields that are wrong, each with a description.
        retry_after_s: when another try makes sense, in seconds; None where none does.
    """

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s


class InvalidRequest(Failure):
    """The request does not have the form that the contract asks for."""

    @classmethod
    def of(cls, violations: Sequence[Violation]) -> "InvalidRequest":
        """The error of one or more wrong fields; its message repeats them for people."""
        return cls("; ".join(f"{field}: {text}" for field, text in violations), violations=violations)


class InputRefused(Failure):
    """The flow refused its inputs."""


class TokenInvalid(Failure):
    """The call carries no credential, or none that is known."""


class NotAllowed(Failure):
    """The credential is known, and does not allow this."""


class FlowNotFound(Failure):
    """No flow of this name is served."""


class SessionNotFound(Failure):
    """There is no session of this id that the caller may reach."""

    @classmethod
    def of(cls, session: str) -> "SessionNotFound":
        """The error for this id; the same for a session of another user, which must not be told apart."""
        return cls(f"there is no session {session!r}", metadata={"session": session})


class RunNotFound(Failure):
    """There is no run of this id that the caller may reach."""

    @classmethod
    def of(cls, run: str) -> "RunNotFound":
        """The error for this id; the same for a run of another user, which must not be told apart."""
        return cls(f"there is no run {run!r}", metadata={"run": run})


class MessageNotFound(Failure):
    """There is no message of this id in the session."""


class IdempotencyKeyReused(Failure):
    """The key was used for another request."""


class StoreDisabled(Failure):
    """The service keeps nothing, and the call is about what is kept."""


class CursorExpired(Failure):
    """A run's log no longer holds, or never held, the entry after which it is to be told."""


class MessageTooLarge(Failure):
    """A message is larger than `message_bytes_max`."""


class RunTooLarge(Failure):
    """The run produced more than `run_log_bytes_max`, or more in one piece than the database takes."""


class TooManyRuns(Failure):
    """As many runs execute and wait as the service allows."""


class SessionBusy(Failure):
    """Another run of the session has not ended."""


class FlowFailed(Failure):
    """The flow's own code raised."""


class UpstreamUnavailable(Failure):
    """A model or a store that the flow needs does not answer; another try may help."""


class ModelRefused(Failure):
    """A model answered that it will not serve this call; another try will not help."""


class RunCanceled(Failure):
    """The run was cancelled."""


class DeadlineExceeded(Failure):
    """The call's deadline passed."""


class ReaderStalled(Failure):
    """The reader took nothing for `write_timeout_s`."""


class SearchTimeout(Failure):
    """What was to be found in the store was not found within `search_timeout_s`."""

    @classmethod
    def after(cls, timeout_s: float) -> "SearchTimeout":
        """The error of a search, or a page of an export, that has taken so long."""
        return cls(
            f"the search has taken longer than {timeout_s:g} s; look at less: name a time (startTime, endTime), a user "
            "or a session, or rarer words"
        )


RETRY_AFTER_S = 1.0
"""When a caller that was turned away, or met a store that does not answer, should come back."""
RETRY_AFTER_DRAIN_S = 5.0
"""When a caller that met a stopping server should come back: another instance may have taken its place by then."""


class Draining(Failure):
    """The server is stopping."""

    @classmethod
    def now(cls) -> "Draining":
        """The error of a call that comes while the server stops."""
        return cls("the server is stopping; try again", retry_after_s=RETRY_AFTER_DRAIN_S)


class RunInterrupted(Failure):
    """The server stopped before the run ended."""


class StoreUnavailable(Failure):
    """The database does not answer, or takes nothing."""


class Defect(Failure):
    """A fault of Penstock's own; its message tells no internals."""


TABLE: dict[type[Failure], tuple[Code, str]] = {
    InvalidRequest: (Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    InputRefused: (Code.INVALID_ARGUMENT, "INVALID_INPUT"),
    TokenInvalid: (Code.UNAUTHENTICATED, "TOKEN_INVALID"),
    NotAllowed: (Code.PERMISSION_DENIED, "NOT_ALLOWED"),
    FlowNotFound: (Code.NOT_FOUND, "FLOW_NOT_FOUND"),
    SessionNotFound: (Code.NOT_FOUND, "SESSION_NOT_FOUND"),
    RunNotFound: (Code.NOT_FOUND, "RUN_NOT_FOUND"),
    MessageNotFound: (Code.NOT_FOUND, "MESSAGE_NOT_FOUND"),
    IdempotencyKeyReused: (Code.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED"),
    StoreDisabled: (Code.UNIMPLEMENTED, "STORE_DISABLED"),
    CursorExpired: (Code.OUT_OF_RANGE, "CURSOR_EXPIRED"),
    MessageTooLarge: (Code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
    RunTooLarge: (Code.RESOURCE_EXHAUSTED, "RUN_TOO_LARGE"),
    TooManyRuns: (Code.RESOURCE_EXHAUSTED, "TOO_MANY_RUNS"),
    SessionBusy: (Code.ABORTED, "SESSION_BUSY"),
    FlowFailed: (Code.UNKNOWN, "FLOW_FAILED"),
    UpstreamUnavailable: (Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    ModelRefused: (Code.FAILED_PRECONDITION, "MODEL_REFUSED"),
    RunCanceled: (Code.CANCELLED, "RUN_CANCELED"),
    DeadlineExceeded: (Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    ReaderStalled: (Code.DEADLINE_EXCEEDED, "READER_STALLED"),
    SearchTimeout: (Code.DEADLINE_EXCEEDED, "SEARCH_TIMEOUT"),
    Draining: (Code.UNAVAILABLE, "DRAINING"),
    RunInterrupted: (Code.UNAVAILABLE, "RUN_INTERRUPTED"),
    StoreUnavailable: (Code.UNAVAILABLE, "STORE_UNAVAILABLE"),
    Defect: (Code.INTERNAL, "INTERNAL"),
}
"""Every domain error with its code and its `penstock.v1.ErrorReason` (contract: Errors)."""


DEFECT_MESSAGE = "Penstock met a defect of its own; the server's log has the details under this incident"

MESSAGE_BYTES_MAX = 800
"""How long a message may be, in UTF-8. Status and details travel in gRPC's trailing metadata, percent-encoded and in
base64, and clients begin to refuse that at 8 KiB."""
VIOLATIONS_MAX = 8
"""How many wrong fields one error names."""
DETAIL_BYTES_MAX = 120
"""How long each text among the details may be, in UTF-8."""


def to_status(failure: Failure) -> Status:
    """The failure as the wire carries it, cut to what gRPC's metadata can hold."""
    code, reason = TABLE[type(failure)]
    return status.build(
        code,
        reason,
        _cut(failure.message, MESSAGE_BYTES_MAX),
        metadata={key: _cut(value, DETAIL_BYTES_MAX) for key, value in failure.metadata.items()},
        violations=[
            (_cut(field, DETAIL_BYTES_MAX), _cut(text, DETAIL_BYTES_MAX))
            for field, text in failure.violations[:VIOLATIONS_MAX]
        ],
        retry_after_s=failure.retry_after_s,
    )


def from_status(stored: Status) -> Failure:
    """The failure that `to_status` made this from."""
    info = status.error_info(stored)
    kind = _BY_REASON.get(info.reason, Defect)
    return kind(
        stored.message,
        metadata=info.metadata,
        violations=[(each.field, each.description) for each in status.bad_request(stored).field_violations],
        retry_after_s=status.retry_after_s(stored),
    )


_BY_REASON = {reason: kind for kind, (_, reason) in TABLE.items()}


def _cut(text: str, bytes_max: int) -> str:
    """The text, shortened and made encodable: an exception's text may hold anything."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= bytes_max:
        return data.decode()
    return data[: bytes_max - len(_ELLIPSIS.encode())].decode("utf-8", "ignore") + _ELLIPSIS


_ELLIPSIS = "…"
