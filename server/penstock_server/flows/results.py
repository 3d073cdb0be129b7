"""What flow code returns, as JSON values: exactly for outputs (`jsonable`), roughly for records (`describe`)."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from math import isfinite
from pathlib import PurePath

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from penstock.media import File, Image
from penstock.secret import MASK, masked
from penstock.values import DEPTH_MAX, INTEGER_MAX, Allowance, InvalidValue

DESCRIBED_DEPTH_MAX = 16
"""How deep a description goes."""

DESCRIBED_ITEMS_MAX = 1000
"""How many values a description holds."""

DESCRIBED_CHARS_MAX = 32 * 1024
"""How much text a description holds."""

REPR_CHARS_MAX = 200
"""How long the text is that stands for an object that is no JSON."""


def jsonable(value: object, depth_max: int = DEPTH_MAX - 1, allowance: Allowance | None = None) -> object:
    """The JSON value that stands for `value`, exact and fit for the contract (`penstock.values`).

    Dataclasses and pydantic models become objects, tuples and sets lists, enums their values, dates and times ISO 8601
    text, UUIDs, paths and decimals text.

    Args:
        depth_max: how deep lists and objects may nest; an output lies in the object of outputs, hence the default.
        allowance: how many values there may be; those of a whole answer by default.

    Raises:
        InvalidValue: there is no such JSON value; its path says where.
    """
    kind = value.__class__
    if kind is str:
        return _text(value)  # type: ignore[arg-type]
    if kind is int:
        return _integer(value)  # type: ignore[arg-type]
    if value is None or kind is bool:
        return value
    if kind is float:
        return _number(value)  # type: ignore[arg-type]
    if kind is dict:
        return _object(value, depth_max, allowance or Allowance())  # type: ignore[arg-type]
    if kind is list:
        return _list(value, depth_max, allowance or Allowance())  # type: ignore[arg-type]
    return _other(value, depth_max, allowance or Allowance())


def fields_of(value: object) -> Mapping[object, object] | None:
    """The fields of a dataclass instance, or the items of a mapping, as they are; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return None


def describe(value: object, name: str = "") -> object:
    """A JSON value that gives a reader an idea of `value`: bounded in depth and size, and never an error.

    Of what is called a secret, by `name` or by a key inside, it says nothing but that it is there.
    """
    if _hides(name, value):
        return MASK
    if type(value) is str and len(value) <= DESCRIBED_CHARS_MAX and value.isascii():
        return masked(value)
    return _Description().of(value, DESCRIBED_DEPTH_MAX)


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValue("the text holds a lone surrogate, which is not valid UTF-8") from None
    return value


def _integer(value: int) -> int:
    if not -INTEGER_MAX <= value <= INTEGER_MAX:
        raise InvalidValue("a whole number beyond ±2^53 has no exact form in JSON; return it as a string")
    return value


def _number(value: float) -> float:
    if not isfinite(value):
        raise InvalidValue(f"{value} is not a JSON number")
    return value


def _object(value: Mapping[object, object], depth_max: int, allowance: Allowance) -> dict[str, object]:
    allowance.enter(depth_max, len(value))
    result: dict[str, object] = {}
    for key, item in value.items():
        name = _key(key)
        try:
            result[name] = jsonable(item, depth_max - 1, allowance)
        except InvalidValue as error:
            raise error.within(name) from None
    return result


def _list(value: Sequence[object] | AbstractSet[object], depth_max: int, allowance: Allowance) -> list[object]:
    allowance.enter(depth_max, len(value))
    result: list[object] = []
    for index, item in enumerate(value):
        try:
            result.append(jsonable(item, depth_max - 1, allowance))
        except InvalidValue as error:
            raise error.within(index) from None
    return result


def _other(value: object, depth_max: int, allowance: Allowance) -> object:
    if isinstance(value, (Image, File)):
        return _object(value.to_json(), depth_max, allowance)  # type: ignore[arg-type]
    if isinstance(value, Enum):
        return jsonable(value.value, depth_max, allowance)
    if isinstance(value, BaseModel):
        return jsonable(_dumped(value), depth_max, allowance)
    fields = fields_of(value)
    if fields is not None:
        return _object(fields, depth_max, allowance)
    if isinstance(value, (list, tuple, deque, AbstractSet)):
        return _list(value, depth_max, allowance)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        return _integer(int.__int__(value))
    if isinstance(value, float):
        return _number(float.__float__(value))
    return _leaf(value)


def _dumped(model: BaseModel) -> object:
    try:
        return model.model_dump(mode="json", by_alias=True)
    except (PydanticSerializationError, UnicodeDecodeError) as error:
        raise InvalidValue(f"a {type(model).__name__} is not JSON: {error}") from None


def _leaf(value: object) -> object:
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise InvalidValue("bytes are not a JSON value; return them as text, base64 for instance")
    if isinstance(value, PurePath):
        return _text(str(value))
    try:
        if isinstance(value, Iterator):  # pydantic would run it to its end, here on the loop
            raise TypeError
        leaf = to_jsonable_python(value)
    except (PydanticSerializationError, ValueError, TypeError):
        leaf = None
    if isinstance(leaf, (str, int, float)):
        return jsonable(leaf)
    raise InvalidValue(f"a value of the type `{type(value).__name__}` is not a JSON value")


def _key(key: object) -> str:
    if isinstance(key, Enum):
        key = key.value
    if not isinstance(key, str):
        raise InvalidValue(f"the key {_short_repr(key)} is not text; JSON objects have text keys")
    return _text(str.__str__(key))


class _Description:
    """One description while it grows."""

    def __init__(self) -> None:
        self._items = DESCRIBED_ITEMS_MAX
        self._chars = DESCRIBED_CHARS_MAX

    def of(self, value: object, depth: int) -> object:
        self._items -= 1
        try:
            return self._structured(value, depth)
        except Exception:  # flow objects may raise in any attribute; a description is never worth a failed run
            return f"<{type(value).__name__}>"

    def _structured(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and not isinstance(value, Enum):
            return self._cut(value)
        if isinstance(value, (Image, File)):
            return repr(value)  # its bytes would leave no room for anything else
        if isinstance(value, BaseModel):
            return self._object(dict(value), depth)
        fields = fields_of(value)
        if fields is not None:
            return self._object(fields, depth)
        if isinstance(value, (list, tuple, deque, AbstractSet)):
            return self._list(value, depth)
        try:
            return jsonable(value)
        except InvalidValue:
            return self._cut(_short_repr(value))

    def _object(self, value: Mapping[object, object], depth: int) -> object:
        if depth <= 0:
            return f"<{len(value)} values>"
        result: dict[str, object] = {}
        for key, item in value.items():
            if self._items <= 0:
                result["…"] = f"{len(value) - len(result)} more"
                break
            name = self._cut(key if isinstance(key, str) else _short_repr(key))
            result[name] = MASK if _hides(name, item) else self.of(item, depth - 1)
        return result

    def _list(self, value: Sequence[object] | AbstractSet[object], depth: int) -> object:
        if depth <= 0:
            return f"<{len(value)} values>"
        result: list[object] = []
        for item in value:
            if self._items <= 0:
                result.append(f"… {len(value) - len(result)} more")
                break
            result.append(self.of(item, depth - 1))
        return result

    def _cut(self, text: str) -> str:
        text = masked(text)
        room, self._chars = self._chars, max(0, self._chars - len(text))
        shown = text if len(text) <= room else f"{text[:room]}… {len(text) - room} more characters"
        return shown if shown.isascii() else shown.encode(errors="replace").decode()


def _hides(name: str, value: object) -> bool:
    """Whether a value is to be kept back because of its name; what is empty, true or false is no secret."""
    is_plain = value is None or type(value) is bool or (type(value) is str and not value)
    return _is_secret_name(name) and not is_plain


@lru_cache(maxsize=1024)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _short_repr(value: object) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    try:
        text = masked(repr(value))
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= REPR_CHARS_MAX else f"{text[:REPR_CHARS_MAX]}…"


_SECRET_NAME = re.compile(
    r"(^|[_-])(api[_-]?key|access[_-]?key|secret|secret[_-]?key|password|passwd|token|credentials?|authorization)$",
    re.IGNORECASE,
)
"""The names of values that are secrets; `max_tokens` is none."""
