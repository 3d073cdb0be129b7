"""Images and files, as flow code gets and returns them.

This module stands alone: it needs nothing but the standard library, so a flow's code can be run and tested without a
server. The names of what prompt flow's `Image` and LangStudio's `File` have in common with these are theirs.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import uuid
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

UNKNOWN_IMAGE = "image/*"
"""The type of an image whose first bytes do not tell it."""

UNKNOWN_FILE = "application/octet-stream"
"""The type of a file of which nothing is known."""


class Image(bytes):
    """The bytes of an image, with its type and the address that they came from.

    As an output of a flow it becomes a JSON object of one key, `{"data:image/png;base64": "…"}`.

    Args:
        value: the bytes.
        mime_type: the type, such as `image/png`; found out from the first bytes where it is not given.
        source_url: the http(s) address that the image came from, if it has one.
    """

    def __new__(cls, value: bytes, mime_type: str | None = None, source_url: str | None = None) -> Image:
        """Bytes are made here, before `__init__`, which therefore is not there."""
        image = super().__new__(cls, value)
        image._mime_type = (mime_type or image_type_of(value) or UNKNOWN_IMAGE).lower()
        image._source_url = source_url
        return image

    _mime_type: str
    _source_url: str | None

    @property
    def mime_type(self) -> str:
        """The type, such as `image/png`."""
        return self._mime_type

    @property
    def source_url(self) -> str | None:
        """The http(s) address that the image came from."""
        return self._source_url

    def to_base64(self, with_type: bool = False) -> str:
        """The bytes in base64; as a data URL where the type is asked for."""
        return _data_url(self, self._mime_type) if with_type else base64.b64encode(self).decode()

    def to_json(self) -> dict[str, str]:
        """The image as the JSON object that stands for it, in prompt flow's form."""
        return {f"data:{self._mime_type};base64": self.to_base64()}

    def __str__(self) -> str:
        """A short name, which differs from that of any other image."""
        return f"Image({hashlib.sha256(self).hexdigest()[:_NAME_CHARS]})"

    def __repr__(self) -> str:
        return f"Image({self._mime_type}, {len(self)} bytes)"


class File:
    """A file: where it is, what it is called, and its bytes where they are known.

    As an input of a flow it holds its bytes already: the server has fetched them, within the limits of its operator.
    As an output it becomes a JSON object with the attributes; bytes without an address become a data URL.

    Args:
        source_uri: where the file is: an http(s) address, a data URL, or an address that only other software knows.
        download_url: where it can be fetched, where that differs.
        file_id: a name that no other file has; made where it is not given.
        file_name: the name; the last part of the address where it is not given.
        file_type: the type, such as `application/pdf`; guessed from the name where it is not given.
        content: the bytes.
    """

    def __init__(
        self,
        source_uri: str = "",
        *,
        download_url: str = "",
        file_id: str = "",
        file_name: str = "",
        file_type: str = "",
        content: bytes | None = None,
    ) -> None:
        self.file_id = file_id or uuid.uuid4().hex[:_NAME_CHARS]
        self.file_name = file_name or _name_of(source_uri) or self.file_id
        self.file_type = file_type or mimetypes.guess_type(self.file_name)[0] or UNKNOWN_FILE
        self.source_uri = source_uri or (_data_url(content, self.file_type) if content is not None else "")
        if not self.source_uri:
            raise ValueError("a File needs a source_uri, or content")
        self.download_url = download_url or self.source_uri
        self._content = content

    def get_download_url(self) -> str:
        """Where the file can be fetched."""
        return self.download_url

    def read(self) -> bytes:
        """The bytes.

        Raises:
            ValueError: they are not known, because the code that made this object only named an address.
        """
        if self._content is None:
            raise ValueError(f"the content of {self.file_name} is not here; it lies at {self.source_uri[:200]}")
        return self._content

    def text(self, encoding: str = "utf-8") -> str:
        """The bytes as text. Raises like `read`, and UnicodeDecodeError."""
        return self.read().decode(encoding)

    def to_json(self) -> dict[str, str]:
        """The file as the JSON object that stands for it."""
        names = ("source_uri", "download_url", "file_id", "file_name", "file_type")
        found = {name: getattr(self, name) for name in names}
        if self.download_url == self.source_uri:
            del found["download_url"]
        return found

    def __repr__(self) -> str:
        size = "" if self._content is None else f", {len(self._content)} bytes"
        return f"File({self.file_name!r}, {self.file_type}{size})"


def image_type_of(data: bytes) -> str | None:
    """The type of an image by its first bytes; None for what is no image of a known kind."""
    for offset, signature, kind in _SIGNATURES:
        if data[offset : offset + len(signature)] == signature and (kind != "image/webp" or data[:4] == b"RIFF"):
            return kind
    return None


def _data_url(data: bytes, mime_type: str) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


def _name_of(address: str) -> str:
    return "" if address.startswith("data:") else PurePosixPath(unquote(urlsplit(address).path)).name


_NAME_CHARS = 8
_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
)
"""Where the first bytes of each kind of image are, and what they say."""
