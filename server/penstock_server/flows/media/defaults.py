"""The images and files that are defaults of inputs: unlike callers, a flow's author may name a file of the folder."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from penstock.media import File, Image
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.inputs import Input
from penstock_server.flows.media.hints import Supply, current_supply, read_file, read_image
from penstock_server.flows.media.sources import BadMedia


def with_defaults(
    inputs: Sequence[Input], document: Item, folder: Path, bytes_max: int, problems: Problems
) -> tuple[Input, ...]:
    """The inputs with the defaults of those that are images or files; an empty default is None.

    Args:
        inputs: all inputs of the document.
        document: the whole document, with its `inputs`.
        folder: where a path starts; it may not lead out of there.
        bytes_max: how large each may be.
        problems: where what cannot be read is added.
    """
    declared = document.get("inputs")
    entries = declared.entries() if declared else {}
    return tuple(_with_default(each, entries.get(each.name), folder, bytes_max, problems) for each in inputs)


def _with_default(declared: Input, entry: Item | None, folder: Path, bytes_max: int, problems: Problems) -> Input:
    kind, item = (entry.get("type"), entry.get("default")) if entry else (None, None)
    if kind is None or kind.value not in MEDIA_TYPES or item is None:
        return declared
    try:
        return replace(declared, default=_read(str(kind.value), item.plain(), folder, bytes_max))
    except BadMedia as error:
        problems.add(item, f"input `{declared.name}`: the default {error}")
        return declared


def _read(kind: str, value: object, folder: Path, bytes_max: int) -> Image | File | None:
    if value == "":
        return None
    path = _path(value)
    if path:
        content = _content(path, folder, bytes_max)
        if kind == "file":
            return File(Path(path).as_posix(), content=content)
        value = Image(content).to_base64()
    supply = Supply(bytes_max)
    token = current_supply.set(supply)
    try:
        made = read_image(value) if kind == "image" else read_file(value)
    finally:
        current_supply.reset(token)
    if supply.wanted:
        raise BadMedia("is an address; only callers' inputs are fetched: put the file into the folder")
    return made


def _path(value: object) -> str:
    """The path that a default is; empty where it is something else."""
    if isinstance(value, Mapping) and len(value) == 1:
        key, said = next(iter(value.items()))
        return said if str(key).endswith(";path") and isinstance(said, str) else ""
    if isinstance(value, str) and len(value) <= PATH_CHARS_MAX and ":" not in value:
        return value if Path(value).suffix else ""
    return ""


def _content(path: str, folder: Path, bytes_max: int) -> bytes:
    file = Path(os.path.normpath(folder / path))
    if not file.is_relative_to(folder):
        raise BadMedia(f"`{path}` lies outside the flow's folder")
    try:
        with file.open("rb") as stream:
            content = stream.read(bytes_max + 1)
    except (OSError, ValueError):
        raise BadMedia(f"`{path}` is no file of the flow's folder that can be read") from None
    if len(content) > bytes_max:
        raise BadMedia(f"`{path}` is larger than {bytes_max} bytes (media_bytes_max)")
    return content


MEDIA_TYPES = ("image", "file")
"""The types of inputs that are read here."""

PATH_CHARS_MAX = 1000
"""How long a path may be."""
