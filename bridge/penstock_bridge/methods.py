"""The RPCs of the contract, found in its descriptor set."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.resources import files

# The import is what makes `google.api.http` readable in the descriptors' options.
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message

from penstock.v1 import options_pb2
from penstock_bridge.codec import fields

PACKAGE = "penstock.v1"

FLOW, INPUTS = "flow", "inputs"
"""The fields by which a request that calls a flow is known."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One RPC that `google.api.http` gives a path to."""

    descriptor: MethodDescriptor

    @cached_property
    def path(self) -> str:
        """The path of the gRPC call: `/penstock.v1.FlowService/Invoke`."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    @cached_property
    def rule(self) -> http_pb2.HttpRule:
        """The HTTP mapping."""
        return self.descriptor.GetOptions().Extensions[annotations_pb2.http]

    @cached_property
    def negotiates(self) -> str:
        """The unary method whose paths this stream also answers; empty where it answers its own alone."""
        return self.descriptor.GetOptions().Extensions[options_pb2.negotiates]

    @cached_property
    def resumes_after(self) -> str:
        """The field of the request with the number behind which the stream begins; empty where there is none."""
        return self.descriptor.GetOptions().Extensions[options_pb2.resumes_after]

    @cached_property
    def deferral(self) -> options_pb2.Deferral | None:
        """How the method answers before its work is done; None where it does not."""
        options = self.descriptor.GetOptions()
        return options.Extensions[options_pb2.deferral] if options.HasExtension(options_pb2.deferral) else None

    @cached_property
    def public_schema(self) -> bool:
        """The method may be called without a token."""
        return self.descriptor.GetOptions().Extensions[options_pb2.public_schema]

    @cached_property
    def streams(self) -> bool:
        """The method answers with a stream."""
        return self.descriptor.server_streaming

    @cached_property
    def input(self) -> Descriptor:
        """The request's type."""
        return self.descriptor.input_type

    @cached_property
    def output(self) -> Descriptor:
        """The response's type."""
        return self.descriptor.output_type

    @cached_property
    def request(self) -> type[Message]:
        """The request's class."""
        return message_factory.GetMessageClass(self.input)

    @cached_property
    def response(self) -> type[Message]:
        """The response's class."""
        return message_factory.GetMessageClass(self.output)


def calls_flow(method: Method) -> bool:
    """Whether the method executes a flow."""
    members = method.input.fields_by_name
    return FLOW in members and INPUTS in members and fields.type_name(members[INPUTS]) == fields.STRUCT


def descriptor_set() -> FileDescriptorSet:
    """The contract with its comments, as it is shipped with the client."""
    return FileDescriptorSet.FromString((files(PACKAGE) / "descriptors.binpb").read_bytes())


def contract_methods(contract: FileDescriptorSet) -> list[Method]:
    """Every RPC of the contract with an HTTP mapping; a new one appears here without another line."""
    names = [file.name for file in contract.file if file.package == PACKAGE]
    for name in names:
        import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    return list(find_methods(descriptor_pool.Default(), names))


def find_methods(pool: descriptor_pool.DescriptorPool, names: Iterable[str]) -> Iterator[Method]:
    """The RPCs with an HTTP mapping in the files of these names.

    Raises:
        ValueError: such an RPC takes a stream of requests, which HTTP/1.1 has no form for.
    """
    for name in names:
        for service in pool.FindFileByName(name).services_by_name.values():
            for descriptor in service.methods:
                if not descriptor.GetOptions().HasExtension(annotations_pb2.http):
                    continue
                if descriptor.client_streaming:
                    raise ValueError(f"{descriptor.full_name}: a stream of requests has no HTTP mapping")
                yield Method(descriptor=descriptor)
