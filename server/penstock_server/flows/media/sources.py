"""The JSON forms in which callers send images and files.

- text: an http(s) address, a data URL, or the bytes in base64;
- `{"source_uri": …}`, LangStudio's form, with a `file_name`, a `file_type` and a `file_id`;
- `{"data:image/png;base64": …}` and `{"data:image/png;url": …}`, prompt flow's form. Its third one, `…;path`, named a
  file of the server's disk, and is refused: callers read nothing there;
- `{"type": "image_url", "image_url": {"url": …}}`, that of chat models.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_to_bytes


class BadMedia(ValueError):
    """Why an image or a file cannot be had; the text follows on the name of the input."""


ATTRIBUTES = ("file_id", "file_name", "file_type")
"""What callers may say of a file. Its `download_url` is not among them: code may fetch from there, unguarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an image or a file is found: in the request itself, or at an address."""

    content: bytes | None = None
    address: str = ""
    """An http(s) address; empty where there is content."""
    mime_type: str = ""
    """What the caller says that it is."""
    attributes: Mapping[str, str] | None = None
    """What the caller says of a file, by the names of `File`'s attributes."""


def source_of(value: object, bytes_max: int) -> Source:
    """Reads any of the forms.

    Raises:
        BadMedia: it is none of them, its base64 is broken, it is too large, or it names a path.
    """
    if isinstance(value, str):
        return _of_text(value, bytes_max)
    if isinstance(value, Mapping):
        return _of_object(value, bytes_max)
    raise BadMedia("must be a string or an object that holds an address or base64")


def is_image_object(value: Mapping[str, Any]) -> bool:
    """Whether an object among other data is one of the forms of an image: prompt flow's, or that of chat models."""
    if len(value) == 1:
        return _DICTIONARY_KEY.match(next(iter(value))) is not None
    return len(value) == _CHAT_KEYS and value.get("type") == "image_url" and isinstance(value.get("image_url"), Mapping)


def too_large(bytes_max: int) -> str:
    """What is said of media that are too large."""
    return f"is larger than {bytes_max} bytes"


def _of_object(value: Mapping[str, Any], bytes_max: int) -> Source:
    if is_image_object(value):
        return _of_image_object(value, bytes_max)
    where = value.get("source_uri")
    if not isinstance(where, str):
        raise BadMedia('is an object of no known form: send {"source_uri": …}, or {"data:image/png;base64": …}')
    attributes = {name: text for name in ATTRIBUTES if isinstance(text := value.get(name), str)}
    if "file_name" in attributes:
        attributes["file_name"] = re.split(r"[/\\]", attributes["file_name"])[-1]  # code may use it as a path
    found = replace(_of_text(where, bytes_max), attributes=attributes)
    return replace(found, mime_type=attributes.get("file_type") or found.mime_type)


def _of_image_object(value: Mapping[str, Any], bytes_max: int) -> Source:
    if "image_url" in value:
        return _of_text(_text(value["image_url"].get("url")), bytes_max)
    key, said = next(iter(value.items()))
    mime_type, _, kind = key.removeprefix("data:").rpartition(";")
    if kind == "path":
        raise BadMedia("names a path: files of the server cannot be read; send base64 or an address")
    if kind == "url":
        return replace(_of_text(_text(said), bytes_max), mime_type=mime_type)
    return Source(content=_decoded(_text(said).rpartition(",")[2], bytes_max), mime_type=mime_type)


def _of_text(text: str, bytes_max: int) -> Source:
    if _HTTP.match(text):
        return Source(address=text)
    if text[:5].lower() == "data:":
        return _of_data_url(text, bytes_max)
    scheme = _SCHEME.match(text)
    if scheme is not None:
        raise BadMedia(f"is an address of the kind `{scheme[1].lower()}:`; only http(s) addresses are fetched")
    return Source(content=_decoded(text, bytes_max))


def _of_data_url(text: str, bytes_max: int) -> Source:
    """Reads a data URL (RFC 2397)."""
    head, comma, body = text[5:].partition(",")
    if not comma or len(head) > _HEAD_CHARS_MAX:
        raise BadMedia("is no data URL: it has no comma behind its type")
    mime_type = head.partition(";")[0].strip().lower()
    if head.lower().endswith(";base64"):
        return Source(content=_decoded(body, bytes_max), mime_type=mime_type)
    if len(body) > _ESCAPED_CHARS * bytes_max:
        raise BadMedia(too_large(bytes_max))
    return Source(content=_bounded(unquote_to_bytes(body), bytes_max), mime_type=mime_type)


def _decoded(text: str, bytes_max: int) -> bytes:
    if len(text) > bytes_max * 2:  # base64 takes a third more than the bytes, and line breaks hardly anything
        raise BadMedia(too_large(bytes_max))
    try:
        content = base64.b64decode("".join(text.split()) if _SPACE.search(text) else text, validate=True)
    except (binascii.Error, ValueError):
        raise BadMedia("is neither an http(s) address, nor a data URL, nor base64") from None
    if not content:
        raise BadMedia("is empty")
    return _bounded(content, bytes_max)


def _bounded(content: bytes, bytes_max: int) -> bytes:
    if len(content) > bytes_max:
        raise BadMedia(too_large(bytes_max))
    return content


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadMedia("is an image object that holds no text")
    return value


_HTTP = re.compile(r"https?://", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_SPACE = re.compile(r"\s")
_DICTIONARY_KEY = re.compile(r"data:image/[^;]{1,50};(?:path|base64|url)$")
_CHAT_KEYS = 2
_HEAD_CHARS_MAX = 200
_ESCAPED_CHARS = 3
"""How many characters a byte takes in a data URL at most."""
