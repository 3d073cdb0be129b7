"""What the columns of a foreign table mean, as a YAML file says it. `docs/importing.md` explains it to users."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from penstock_server.store.records import Role

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"unix_s": timedelta(seconds=1), "unix_ms": timedelta(milliseconds=1), "unix_us": timedelta(microseconds=1)}
"""What a time in numbers counts since 1970."""
ISO = "iso"


class MappingInvalid(ValueError):
    """The mapping cannot be used; the text says what is wrong with it, a line for each fault."""


class ColumnPath(BaseModel):
    """A column; with a path, a value within the JSON that the column holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    path: str = ""
    """Keys and indexes with dots between them."""


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


_Column = Annotated[ColumnPath, BeforeValidator(_column)]


class Columns(BaseModel):
    """Where each fact stands in a row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session: _Column
    user: _Column | None = None
    time: _Column | None = None
    role: _Column | None = None
    text: _Column | None = None
    question: _Column | None = None
    answer: _Column | None = None
    order: _Column | None = None
    """What orders rows of the same time."""

    @model_validator(mode="after")
    def _either_roles_or_pairs(self) -> "Columns":
        roles, pairs = (self.role, self.text), (self.question, self.answer)
        if not (all(roles) and not any(pairs)) and not (all(pairs) and not any(roles)):
            raise ValueError("give either `role` and `text`, or `question` and `answer`")
        return self

    @property
    def read(self) -> list[str]:
        """The columns that are read."""
        given = (getattr(self, name) for name in type(self).model_fields)
        return [each.column for each in given if each is not None]


def _texts(value: Any) -> Any:
    return [str(item) for item in value] if isinstance(value, list) else value


_Names = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class Roles(BaseModel):
    """Which values of the role's column mean what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: _Names = ("user", "human")
    assistant: _Names = ("assistant", "ai")
    skip: _Names = ("system", "tool", "function")

    def role(self, name: str) -> Role | None:
        """The role of this name; None where such rows are left out. Raises KeyError for a name that is not given."""
        if name in self.skip:
            return None
        return {**dict.fromkeys(self.user, Role.USER), **dict.fromkeys(self.assistant, Role.ASSISTANT)}[name]


class Mapping(BaseModel):
    """A table of another system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = ""
    """The address of its database; the command line's own comes before it."""
    table: str
    columns: Columns
    roles: Roles = Roles()
    time_format: str = ISO
    """`iso`, `unix_s`, `unix_ms`, `unix_us`, or a form as `datetime.strptime` takes it."""
    time_zone: str = "UTC"
    """Of times that do not name one."""
    time_default: AwareDatetime | None = None
    """The time of rows without one."""
    session_prefix: str = Field("", pattern=r"^[A-Za-z0-9_:-]{0,200}$")
    flow: str = Field("imported", pattern=r"^\S{1,63}$")
    input: str = Field("question", min_length=1)
    """What the flow calls a question."""
    output: str = Field("answer", min_length=1)
    """What the flow calls an answer."""
    form: Literal[1] = 1
    """The version of this file's form."""

    @model_validator(mode="after")
    def _has_times(self) -> "Mapping":
        if self.columns.time is None and self.time_default is None:
            raise ValueError("give `columns.time`, or `time_default` for a table that knows no times")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"there is no time zone {self.time_zone!r}") from None
        return self

    def time(self, value: object) -> datetime:
        """The time that a column's value means.

        Raises:
            ValueError: the value has another form than `time_format`.
        """
        if value is None:
            if self.time_default is None:
                raise ValueError("it is NULL, and the mapping gives no `time_default`")
            return self.time_default.astimezone(UTC)
        time = value if isinstance(value, datetime) else self._parsed(value)
        return (time if time.tzinfo else time.replace(tzinfo=ZoneInfo(self.time_zone))).astimezone(UTC)

    def _parsed(self, value: object) -> datetime:
        text = value.decode() if isinstance(value, bytes) else str(value)
        if self.time_format in UNITS:
            return EPOCH + float(text) * UNITS[self.time_format]
        return datetime.fromisoformat(text) if self.time_format == ISO else datetime.strptime(text, self.time_format)


def parse(text: str) -> Mapping:
    """The mapping in a YAML file. Raises MappingInvalid."""
    try:
        return Mapping.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise MappingInvalid(f"is not YAML: {error}") from None
    except ValidationError as error:
        raise MappingInvalid("\n".join(_complaint(each) for each in error.errors())) from None


def _complaint(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"`{where}`: {said}" if where else said
