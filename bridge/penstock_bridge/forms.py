"""Forms (`multipart/form-data`, RFC 7578) as the inputs of a flow: each part is an input of its name.

A part with a file name is a file, one of the type `application/json` is JSON, any other one is text. Files of one name
are a list, and so are all parts whose name ends with `[]`, even a single one.
"""

import asyncio
import re
import warnings
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import Message as Headers
from email.utils import collapse_rfc2231_value
from enum import Enum, auto

from aiohttp import BodyPartReader, MultipartReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import StreamReader

from penstock.values import InvalidValue
from penstock_bridge.codec.document import TooManyValues, check_values, parse
from penstock_bridge.errors import Problem, invalid_request, invalid_value
from penstock_bridge.methods import INPUTS
from penstock_bridge.negotiation import FORM, JSON

PARTS_MAX = 100
"""How many parts a form may have."""

PART_HEADERS_MAX = 16
"""How many lines of headers a part may have."""

PART_HEADER_BYTES_MAX = 4096
"""How long each of these lines may be."""

NAME_CHARS_MAX = 255
"""How long the name of a part or of a file may be."""


def is_form(content_type: str) -> bool:
    """Whether the header announces a form."""
    return content_type.partition(";")[0].strip().lower() == FORM


async def parse_form(body: bytes, content_type: str) -> dict[str, object]:
    """The inputs that a form holds; files are objects that keep their names, `{"source_uri": "data:…", …}`.

    Args:
        body: the whole body. Empty, it is a form without parts.
        content_type: the header that came with it.

    Raises:
        Problem: INVALID_REQUEST, it is no such form, or holds too much; the part is named.
    """
    boundary = _boundary(content_type)
    if not body:
        return {}
    _check_ends(body, boundary)
    # The reader warns of each header that it cannot read, and Python would keep every such warning for good.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [part async for part in _read(body, boundary)]
    return _inputs(parts)


class _Kind(Enum):
    TEXT = auto()
    FILE = auto()
    JSON = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    name: str
    listed: bool
    """The name said that it belongs to a list."""
    kind: _Kind
    media_type: str
    file_name: str
    content: bytes

    def value(self) -> object:
        """The part as JSON. Raises Problem."""
        if self.kind is _Kind.FILE:
            return self._file()
        if self.kind is _Kind.JSON:
            return self._json()
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            raise _wrong(self.name, "is text that is not UTF-8; a file's part carries a filename") from None

    def _file(self) -> dict[str, object]:
        url = f"data:{self.media_type};base64,{b64encode(self.content).decode()}"
        named = {"file_name": self.file_name} if self.file_name else {}
        return {"source_uri": url, "file_type": self.media_type, **named}

    def _json(self) -> object:
        try:
            return parse(self.content)
        except InvalidValue as error:
            raise invalid_value(error.within(self.name), INPUTS) from None


def _inputs(parts: list[_Part]) -> dict[str, object]:
    try:
        check_values(b",".join(part.content for part in parts if part.kind is _Kind.JSON))
    except TooManyValues as error:
        raise invalid_value(error, INPUTS) from None
    by_name: dict[str, list[_Part]] = {}
    for part in parts:
        by_name.setdefault(part.name, []).append(part)
    return {name: _value(name, group) for name, group in by_name.items()}


def _value(name: str, parts: list[_Part]) -> object:
    listed = parts[0].listed
    if any(part.listed is not listed for part in parts):
        raise _wrong(name, f"comes both as {name!r} and as {name + _LIST!r}")
    if len(parts) > 1 and not listed and any(part.kind is not _Kind.FILE for part in parts):
        raise _wrong(name, f"is given twice; name the parts {name + _LIST!r} where they are a list")
    values = [part.value() for part in parts]
    return values if listed or len(parts) > 1 else values[0]


_LIST = "[]"


async def _read(body: bytes, boundary: str) -> AsyncIterator[_Part]:
    """The parts, but for those of file fields in which a browser's user chose nothing."""
    reader = MultipartReader(
        {"Content-Type": f'{FORM}; boundary="{boundary}"'},
        _stream(body),
        max_field_size=PART_HEADER_BYTES_MAX,
        max_headers=PART_HEADERS_MAX,
    )
    for number in range(1, PARTS_MAX + 1):
        found = await _next(reader, number)
        if found is None:
            return
        part = await _part(found, number)
        if part.kind is not _Kind.FILE or part.file_name or part.content:
            yield part
    if await _next(reader, PARTS_MAX + 1) is not None:
        raise invalid_request(f"The form has more than {PARTS_MAX} parts; send lists and objects as one part of JSON")


def _stream(body: bytes) -> StreamReader:
    """The body for aiohttp's reader, which never waits for it; in pieces, as it copies one whenever it steps back."""
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), limit=len(body), loop=loop)
    for start in range(0, len(body), _PIECE_BYTES):
        stream.feed_data(body[start : start + _PIECE_BYTES])
    stream.feed_eof()
    return stream


_PIECE_BYTES = 65536


async def _next(reader: MultipartReader, number: int) -> BodyPartReader | None:
    try:
        found = await reader.next()
    except LineTooLong:
        raise _broken(number, f"has a header of more than {PART_HEADER_BYTES_MAX} bytes") from None
    except BadHttpMessage:
        raise _broken(number, f"has broken headers, or more than {PART_HEADERS_MAX}") from None
    except (ValueError, RuntimeError):
        raise _broken(number, "does not begin as a part does, behind a line with the boundary") from None
    if isinstance(found, MultipartReader):
        raise _broken(number, "is itself multipart; send each of its parts as a part of the form")
    return found


async def _part(found: BodyPartReader, number: int) -> _Part:
    headers = _headers(found, number)
    name, listed = _name(headers, number)
    file_name = _file_name(headers, name)
    media_type = _media_type(headers, name)
    kind = _kind(headers, media_type, file_name, name)
    if headers.get("Content-Transfer-Encoding", "binary").strip().lower() not in _PLAIN:
        raise _wrong(name, "has a Content-Transfer-Encoding; send the part as it is")
    try:
        content = bytes(await found.read())
    except (ValueError, RuntimeError):
        raise _wrong(name, "is cut: no line with the boundary follows") from None
    return _Part(
        name=name,
        listed=listed,
        kind=kind,
        media_type=media_type or _UNKNOWN_TYPE,
        file_name=file_name or "",
        content=content,
    )


_PLAIN = ("binary", "8bit", "7bit")
_UNKNOWN_TYPE = "application/octet-stream"


def _headers(found: BodyPartReader, number: int) -> Headers:
    headers = Headers()
    for name, value in found.headers.items():
        if not _is_utf8(value):
            raise _broken(number, "has a header that is not UTF-8")
        if name in headers:
            raise _broken(number, "has a header twice")
        headers[name] = value
    return headers


def _name(headers: Headers, number: int) -> tuple[str, bool]:
    """The input, and whether it is marked as a list."""
    name = _parameter(headers, "name")
    if headers.get_content_disposition() != "form-data" or name is None:
        raise _broken(number, 'has no name: its header is `Content-Disposition: form-data; name="…"`')
    if len(name) > NAME_CHARS_MAX:
        raise _broken(number, f"has a name of more than {NAME_CHARS_MAX} characters")
    bare = name.removesuffix(_LIST)
    if not bare or not _is_utf8(bare):
        raise _broken(number, "has a name that is empty or no text")
    return bare, bare != name


def _file_name(headers: Headers, name: str) -> str | None:
    """None where the part is no file; browsers send an empty one where no file was chosen."""
    file_name = _parameter(headers, "filename")
    if file_name is None:
        return None
    if len(file_name) > NAME_CHARS_MAX or not _is_utf8(file_name):
        raise _wrong(name, f"has a filename of more than {NAME_CHARS_MAX} characters, or one that is no text")
    return file_name


def _parameter(headers: Headers, name: str, header: str = "Content-Disposition") -> str | None:
    """A parameter of a header; empty where it is broken, None where there is none."""
    try:
        given = headers.get_param(name, header=header)
        return None if given is None else collapse_rfc2231_value(given)
    except (TypeError, ValueError):  # the library stumbles over a mixture of RFC 2231's forms
        return ""


def _media_type(headers: Headers, name: str) -> str:
    given = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if given and not _MEDIA_TYPE.fullmatch(given):
        raise _wrong(name, "has a Content-Type that is none, such as image/png")
    return given


_TOKEN = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}"  # noqa: S105 — RFC 6838 §4.2
_MEDIA_TYPE = re.compile(f"{_TOKEN}/{_TOKEN}")


def _kind(headers: Headers, media_type: str, file_name: str | None, name: str) -> _Kind:
    # A file that a browser sends has its own name; `blob` is that of bytes which a page made itself (XMLHttpRequest
    # §4.2), and the only way in which a page can give a part a type.
    if file_name is not None and not (media_type == JSON and file_name == _BLOB):
        return _Kind.FILE
    if (_parameter(headers, "charset", "Content-Type") or "utf-8").lower() not in _CHARSETS:
        raise _wrong(name, "is not sent as UTF-8")
    if media_type == JSON:
        return _Kind.JSON
    if media_type and not media_type.startswith("text/"):
        raise _wrong(name, f"is sent as {media_type} without a filename; a file's part carries one")
    return _Kind.TEXT


_BLOB = "blob"
_CHARSETS = ("utf-8", "utf8", "us-ascii")


def _boundary(content_type: str) -> str:
    headers = Headers()
    headers["Content-Type"] = content_type
    boundary = _parameter(headers, "boundary", "Content-Type") if _is_utf8(content_type) else None
    if boundary is None or not _BOUNDARY.fullmatch(boundary):
        raise invalid_request(
            f"The header Content-Type names no valid boundary: `{FORM}; boundary=…`, 1 to 70 characters (RFC 2046)"
        )
    return boundary


_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


def _check_ends(body: bytes, boundary: str) -> None:
    delimiter = f"--{boundary}".encode()
    # The reader would go through anything else before the first boundary, line by line.
    if not re.match(rb"(?:\r\n)?" + re.escape(delimiter) + rb"(?:--)?(?:\r\n|\Z)", body):
        raise invalid_request(f"The form does not begin with its boundary, --{boundary}")
    if delimiter + b"--" not in body:
        raise invalid_request(f"The form is cut: it does not end with its boundary, --{boundary}--")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _broken(number: int, why: str) -> Problem:
    return invalid_request(f"The form's part {number} {why}")


def _wrong(name: str, why: str) -> Problem:
    field = f"{INPUTS}.{name}"
    return invalid_request(f"{field}: {why}", violations=[(field, why)])
