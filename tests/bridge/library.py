"""Services made up for a test: methods over one message, each given by its options."""

from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pool, field_mask_pb2, wrappers_pb2  # noqa: F401 - the contract made here uses them
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from penstock.v1 import options_pb2
from penstock_bridge.methods import Method, find_methods

FIELD = FieldDescriptorProto
NUMBERS = iter(range(1, 10_000))

BOOK = {
    "name": "string",
    "title": "string",
    "page_count": "int32",
    "big": "int64",
    "ratio": "double",
    "hidden": "bool",
    "blob": "bytes",
    "genre": ".{package}.Genre",
    "tags": "string*",
    "genres": ".{package}.Genre*",
    "author": ".{package}.Author",
    "co_authors": ".{package}.Author*",
    "printed_at": ".google.protobuf.Timestamp",
    "age": ".google.protobuf.Duration",
    "mask": ".google.protobuf.FieldMask",
    "limit": ".google.protobuf.Int32Value",
    "extra": ".google.protobuf.Struct",
    "after": "int32",
}
AUTHOR = {"name": "string", "born_in": "int32", "mentor": ".{package}.Author"}


def library(*rpcs: Any) -> list[Method]:
    """Methods over Book, each given by its rules: a package of its own, for descriptors cannot be taken back."""
    package = f"penstock_test.library{next(NUMBERS)}"
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend(
        f"google/protobuf/{n}.proto" for n in ("timestamp", "duration", "field_mask", "wrappers", "struct")
    )
    genre = file.enum_type.add(name="Genre")
    for number, name in enumerate(("GENRE_UNSPECIFIED", "NOVEL", "ESSAY")):
        genre.value.add(name=name, number=number)
    for message, fields in (("Book", BOOK), ("Author", AUTHOR)):
        target = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(fields.items(), start=1):
            _field(target, name, number, kind.format(package=package))
    service = file.service.add(name="Library")
    for rpc in rpcs:
        rpc = dict(rpc)
        method = service.method.add(name=rpc.pop("rpc", f"Call{len(service.method)}"))
        method.input_type = method.output_type = f".{package}.Book"
        method.server_streaming = rpc.pop("streams", False)
        method.client_streaming = rpc.pop("client_streaming", False)
        method.options.Extensions[options_pb2.negotiates] = rpc.pop("negotiates", "")
        method.options.Extensions[options_pb2.resumes_after] = rpc.pop("resumes_after", "")
        if deferral := rpc.pop("deferral", None):
            method.options.Extensions[options_pb2.deferral].CopyFrom(options_pb2.Deferral(**deferral))
        method.options.Extensions[annotations_pb2.http].CopyFrom(http_pb2.HttpRule(**rpc))
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return list(find_methods(pool, [file.name]))


def _field(target: Any, name: str, number: int, kind: str) -> None:
    repeated = kind.endswith("*")
    kind = kind.removesuffix("*")
    added = target.field.add(name=name, number=number)
    added.label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
    if kind.startswith("."):
        added.type_name = kind
        added.type = FIELD.TYPE_ENUM if kind.endswith(".Genre") else FIELD.TYPE_MESSAGE
    else:
        added.type = getattr(FIELD, f"TYPE_{kind.upper()}")
