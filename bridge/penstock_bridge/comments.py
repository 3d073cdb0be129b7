"""The comments of the contract, by the names of what they describe."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

Comments = dict[str, str]
"""Full name of a service, method, message, field, enum or value (`penstock.v1.Run.status`) to its comment."""

Path = tuple[int, ...]


def comments(contract: FileDescriptorSet) -> Comments:
    """The leading comments of everything in these files that has one."""
    found: Comments = {}
    for file in contract.file:
        texts = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for path, name in _names(file):
            text = texts.get(path, "")
            if text.strip():
                found[f"{file.package}.{name}"] = _joined(text)
    return found


def summary(comment: str) -> str:
    """The first sentence of a comment, without its full stop."""
    return comment.partition("\n")[0].partition(". ")[0].rstrip(".")


# The numbers of the fields of descriptor.proto that a path is made of.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM = 2, 3, 4
_ENUM_VALUE = _SERVICE_METHOD = 2


def _names(file: FileDescriptorProto) -> Iterator[tuple[Path, str]]:
    yield from _each(_in_service, file.service, (_FILE_SERVICE,), "")
    yield from _each(_in_message, file.message_type, (_FILE_MESSAGE,), "")
    yield from _each(_in_enum, file.enum_type, (_FILE_ENUM,), "")


def _each(inside: Any, items: Any, path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    for index, item in enumerate(items):
        name = f"{scope}{item.name}"
        yield (*path, index), name
        yield from inside(item, (*path, index), f"{name}.")


def _in_service(service: ServiceDescriptorProto, path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    for index, method in enumerate(service.method):
        yield (*path, _SERVICE_METHOD, index), f"{scope}{method.name}"


def _in_message(message: DescriptorProto, path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    for index, field in enumerate(message.field):
        yield (*path, _MESSAGE_FIELD, index), f"{scope}{field.name}"
    yield from _each(_in_message, message.nested_type, (*path, _MESSAGE_NESTED), scope)
    yield from _each(_in_enum, message.enum_type, (*path, _MESSAGE_ENUM), scope)


def _in_enum(enum: EnumDescriptorProto, path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    for index, value in enumerate(enum.value):
        yield (*path, _ENUM_VALUE, index), f"{scope}{value.name}"


def _joined(text: str) -> str:
    """Lines to paragraphs: a line break within a sentence is the editor's, not the author's."""
    lines = [line.strip() for line in text.strip().splitlines()]
    paragraphs = "\n".join(lines).split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
