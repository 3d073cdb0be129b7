"""Exports as files: a JSON object a line, as ExportMessages sends them.

A line is a record, `{"session": {…}}` or `{"message": {…}}`, or a frame of `GET /v1/messages:export` as NDJSON,
`{"event": "session", "id": 1, "data": {…}}`, where a last frame `done` says that nothing is missing. A session's line
comes before the lines of its messages.
"""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import IO, Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from penstock.values import InvalidValue, to_struct
from penstock_server.history.history import (
    COMMENT_CHARS_MAX,
    METADATA_BYTES_MAX,
    RETENTION_DAYS_MAX,
    TITLE_CHARS_MAX,
)
from penstock_server.history.importing.entries import Entry, EntryRefused, ImportedMessage, ImportedSession
from penstock_server.metadata import SESSION_ID_FORM, USER_ID_FORM
from penstock_server.runs.events import RunStatus
from penstock_server.store.records import Rating, Role

LINE_BYTES_MAX = 128 * 1024 * 1024
"""The longest line; an answer has 16 MiB by default, and JSON writes some characters as six."""
TURN_MAX = 10**9
"""The last turn that a message may have: the session is to go on behind it, and turns are numbers of 31 bits."""
TOKENS_MAX = 2**31 - 1
FLOW_CHARS_MAX = 63
TEXT_OF = {Role.USER: "question", Role.ASSISTANT: "answer"}
"""What a text is called that is not among the content."""


class ExportFile:
    """Reads an export.

    Attributes:
        complete: None for bare records; else whether the frame `done` has been read.
        read_bytes: how much has been read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.complete: bool | None = None
        self.read_bytes = 0
        self._file = file
        self._session: _Session | None = None
        self._untold: set[str] = set()
        """Sessions of messages that came without the session's line."""

    def __iter__(self) -> Iterator[Entry | EntryRefused]:
        """The entries in order; a line that is none comes as the error that says why."""
        number = 0
        while line := self._file.readline(LINE_BYTES_MAX + 1):
            number += 1
            self.read_bytes += len(line)
            if len(line) > LINE_BYTES_MAX:
                yield EntryRefused(f"line {number} is longer than {LINE_BYTES_MAX} bytes")
                self._skip_line()
            elif number == 1 and line.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
                yield EntryRefused("line 1: the file is UTF-16; save it as UTF-8")
            else:
                line = line.removeprefix(BOM_UTF8) if number == 1 else line
                yield from self._entries(line, f"line {number}") if line.strip() else ()

    def _entries(self, line: bytes, place: str) -> Iterator[Entry | EntryRefused]:
        try:
            name, data = self._unwrapped(_OBJECT.validate_json(line))
            if name == "session":
                yield _session(self._begun(_Session.model_validate(data)), place)
            elif name == "message":
                yield _message(self._owned(_Message.model_validate(data)), place)
        except EntryRefused as error:
            yield EntryRefused(f"{place}: {error}")
        except ValidationError as error:
            yield EntryRefused(f"{place}: {_complaint(error)}")

    def _begun(self, session: "_Session") -> "_Session":
        if session.session in self._untold:
            raise EntryRefused(f"the line of the session {session.session} must come before those of its messages")
        self._session = session
        return session

    def _owned(self, message: "_Message") -> "_Message":
        """The message; where it names no user, with that of its session."""
        session = self._session
        if session is None or session.session != message.session:
            self._untold.add(message.session)
            return message
        if message.user:
            return message
        return message.model_copy(update={"user": session.user})

    def _unwrapped(self, found: Mapping[str, Any]) -> tuple[str, Any]:
        """The record's name and content."""
        if "event" not in found:
            for name in ("session", "message"):
                if name in found:
                    return name, found[name]
            raise EntryRefused('is neither {"session": …} nor {"message": …}')
        self.complete = found["event"] == "done"
        if found["event"] in ("session", "message", "done"):
            return found["event"], found.get("data")
        if found["event"] == "error":
            raise EntryRefused(f"the export failed here: {str(found.get('data'))[:500]}")
        raise EntryRefused(f"there is no event {found['event']!r} in an export")

    def _skip_line(self) -> None:
        while (piece := self._file.readline(LINE_BYTES_MAX)) and not piece.endswith(b"\n"):
            self.read_bytes += len(piece)


def _session_id(value: str) -> str:
    if not SESSION_ID_FORM.fullmatch(value):
        raise ValueError("is no session id: 32 to 255 characters of A-Z a-z 0-9 _ - :")
    return value


def _user_id(value: str) -> str:
    if value and not USER_ID_FORM.fullmatch(value):
        raise ValueError("is no user id: 1 to 255 printable ASCII characters without outer spaces")
    return value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds the character NUL")
    return value


_Text = Annotated[str, AfterValidator(_without_nul)]


class _Record(BaseModel):
    """What an older or newer service adds is left alone."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)

    session: Annotated[str, AfterValidator(_session_id)]
    user: Annotated[str, AfterValidator(_user_id)] = ""
    flow: str = Field("", max_length=FLOW_CHARS_MAX)
    create_time: AwareDatetime


class _Session(_Record):
    title: Annotated[_Text, Field(max_length=TITLE_CHARS_MAX)] = ""
    metadata: dict[str, Any] | None = None
    update_time: AwareDatetime | None = None
    retention_days: int = Field(0, ge=0, le=RETENTION_DAYS_MAX)


class _Usage(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)

    input_tokens: int = Field(0, ge=0, le=TOKENS_MAX)
    output_tokens: int = Field(0, ge=0, le=TOKENS_MAX)


_NO_USAGE = _Usage.model_validate({})


class _Message(_Record):
    turn: int = Field(ge=1, le=TURN_MAX)
    role: Literal["USER", "ASSISTANT"]
    text: str = ""
    content: dict[str, Any] | None = None
    status: str = ""
    usage: Annotated[_Usage, BeforeValidator(lambda value: value or {})] = _NO_USAGE
    rating: Literal["", "RATING_UNSPECIFIED", "LIKE", "DISLIKE"] = ""
    rating_comment: Annotated[_Text, Field(max_length=COMMENT_CHARS_MAX)] = ""
    shortened: bool = False


_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


def _session(found: _Session, place: str) -> ImportedSession:
    create_time = _utc("createTime", found.create_time)
    update_time = _utc("updateTime", found.update_time or found.create_time)
    return ImportedSession(
        place=place,
        session=found.session,
        user=found.user,
        flow=found.flow,
        title=found.title,
        metadata=_metadata(found.metadata or {}),
        create_time=create_time,
        update_time=max(create_time, update_time),
        retention_days=found.retention_days,
    )


def _message(found: _Message, place: str) -> ImportedMessage:
    role = Role[found.role]
    text_of, content = _content(found, role)
    return ImportedMessage(
        place=place,
        session=found.session,
        user=found.user,
        turn=found.turn,
        role=role,
        flow=found.flow,
        status=_status(found.status) if role is Role.ASSISTANT else None,
        text_of=text_of,
        content=content,
        input_tokens=found.usage.input_tokens,
        output_tokens=found.usage.output_tokens,
        create_time=_utc("createTime", found.create_time),
        rating=Rating[found.rating] if found.rating in Rating.__members__ else Rating.NONE,
        rating_comment=found.rating_comment,
        session_metadata={},
    )


def _content(found: _Message, role: Role) -> tuple[str, dict[str, Any]]:
    """What was said, with the name of the entry that is the text."""
    content = _json("content", found.content or {})
    if found.shortened:
        return _whole(found, content)
    for name, value in content.items():
        if found.text and value == found.text and "\0" not in name:
            return name, content
    return (TEXT_OF[role], {**content, TEXT_OF[role]: found.text}) if found.text else ("", content)


def _whole(found: _Message, content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The same of a message whose text is only the beginning of an entry of its content."""
    if not content:
        raise EntryRefused("the export has only its beginning; export again with a larger answer_bytes_max")
    begun = {name: value for name, value in content.items() if isinstance(value, str) and value.startswith(found.text)}
    return max(begun, key=lambda name: len(begun[name]), default=""), content


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    metadata = _json("metadata", value)
    size_bytes = len(orjson.dumps(metadata))
    if size_bytes > METADATA_BYTES_MAX:
        raise EntryRefused(f"metadata: has {size_bytes} bytes as JSON; at most {METADATA_BYTES_MAX} are kept")
    return metadata


def _json(field: str, value: dict[str, Any]) -> dict[str, Any]:
    """The same value, if the contract can carry it."""
    try:
        to_struct(value)
    except InvalidValue as error:
        raise EntryRefused(f"{error.field(field)}: {error.description}") from None
    return value


def _status(name: str) -> RunStatus:
    status = RunStatus.__members__.get(name, RunStatus.SUCCEEDED if name in ("", "STATUS_UNSPECIFIED") else None)
    if status is None:
        raise EntryRefused(f"there is no status {name!r}")
    return status if status.terminal else RunStatus.INTERRUPTED


def _utc(field: str, time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise EntryRefused(f"{field}: lies outside the years 1 to 9999 in UTC") from None


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else f"is no JSON object: {said}"
