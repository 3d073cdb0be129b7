"""Type hints with which pydantic makes images and files of what callers send.

Checking a value does not fetch: it asks for what it needs, and is done again when that is there (`Supply`).
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator, WithJsonSchema

from penstock.media import File, Image, image_type_of
from penstock_server.flows.media.fetch import Fetched
from penstock_server.flows.media.sources import BadMedia, Source, is_image_object, source_of
from penstock_server.flows.settings import FlowSettings

SAMPLE_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
)
"""A picture of one pixel."""


class Supply:
    """What has been fetched for one request, and what is still wanted.

    Args:
        bytes_max: how large each image or file may be.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.wanted: dict[str, None] = {}
        """The addresses whose content is needed, in the order of the request."""
        self.found: dict[str, Fetched | BadMedia] = {}
        """What each address gave."""

    @property
    def missing(self) -> list[str]:
        """What is wanted and not there yet."""
        return [address for address in self.wanted if address not in self.found]

    def get(self, address: str) -> Fetched | None:
        """What an address gave; None where it has not been fetched yet: it is wanted then.

        Raises:
            BadMedia: it could not be fetched.
        """
        self.wanted[address] = None
        found = self.found.get(address)
        if isinstance(found, BadMedia):
            raise BadMedia(str(found))
        return found


class _NoSupply(Supply):
    """Stands for a supply where code of a flow checks values by itself, outside any request."""

    def get(self, address: str) -> Fetched | None:
        raise BadMedia("is an address; only what callers send is fetched")


current_supply: ContextVar[Supply] = ContextVar("penstock_media_supply")
"""The supply of the request whose inputs are being checked."""
_CODE = _NoSupply(FlowSettings().media_bytes_max)


def read_image(value: object) -> Image:
    """An image of any form that callers may send; an empty one in its place while it is still to be fetched.

    Raises:
        BadMedia: there is no such image.
    """
    if isinstance(value, Image):
        return value
    supply = current_supply.get(_CODE)
    source = source_of(value, supply.bytes_max)
    if not source.address:
        return _image(source.content or b"", source.mime_type)
    fetched = supply.get(source.address)
    if fetched is None:
        return Image(b"", source.mime_type)
    return _image(fetched.content, source.mime_type or fetched.mime_type, source.address)


def read_file(value: object) -> File:
    """A file of any form that callers may send; an empty one in its place while it is still to be fetched.

    Raises:
        BadMedia: there is no such file.
    """
    if isinstance(value, File):
        return value
    supply = current_supply.get(_CODE)
    source = source_of(value, supply.bytes_max)
    if not source.address:
        return _file(source, source.content or b"", "")
    fetched = supply.get(source.address)
    return _file(source, b"", "") if fetched is None else _file(source, fetched.content, fetched.mime_type)


def with_images(value: Any) -> Any:
    """The same JSON value with images in place of the objects that stand for them (as prompt flow does it)."""
    if isinstance(value, list):
        return [with_images(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return read_image(value) if is_image_object(value) else {key: with_images(item) for key, item in value.items()}


def _image(content: bytes, said: str, address: str | None = None) -> Image:
    """The bytes tell the type of an image, not who sends it."""
    kind = image_type_of(content)
    if kind is None:
        what = f"is no image, although it is sent as {said[:50]}" if said else "is no image"
        raise BadMedia(f"{what}: PNG, JPEG, GIF, WebP, BMP, TIFF, AVIF and HEIC can be read")
    return Image(content, kind, address)


def _file(source: Source, content: bytes, fetched_type: str) -> File:
    attributes = {"file_type": source.mime_type or fetched_type, **(source.attributes or {})}
    return File(source.address, content=content, **attributes)


def _forms(kind: str, example: str) -> WithJsonSchema:
    forms = "an http(s) address, a data URL or base64; or an object that holds one of them"
    return WithJsonSchema({
        "description": f"{'An' if kind == 'image' else 'A'} {kind}: {forms}.",
        "anyOf": [{"type": "string", "minLength": 1}, {"type": "object", "minProperties": 1}],
        "examples": [example],
        # The bridge tells by it which parts of a form are files.
        "x-media": kind,
    })  # fmt: skip


def _told(value: Any) -> Any:
    return value.to_json() if isinstance(value, (Image, File)) else value


_JSON = PlainSerializer(_told, when_used="json")

IMAGE: Any = Annotated[Any, PlainValidator(read_image), _JSON, _forms("image", SAMPLE_IMAGE)]
"""The hint of an image."""

FILE: Any = Annotated[Any, PlainValidator(read_file), _JSON, _forms("file", "data:text/plain,hello")]
"""The hint of a file."""

LIST: Any = Annotated[list[Any], AfterValidator(with_images)]
"""The hint of a list that may hold images."""

OBJECT: Any = Annotated[dict[str, Any], AfterValidator(with_images)]
"""The hint of an object that may hold images, or that is one."""

VALIDATORS = frozenset({read_image, read_file, with_images})
"""The functions that these hints execute; none of them is code of a flow."""


def _teach(kind: type, hint: Any) -> None:
    """Makes the class itself a hint, at any depth of another one. The class stands alone: it knows no pydantic."""
    setattr(kind, "__get_pydantic_core_schema__", classmethod(lambda cls, source, handler: handler(hint)))  # noqa: B010


_teach(Image, IMAGE)
_teach(File, FILE)
