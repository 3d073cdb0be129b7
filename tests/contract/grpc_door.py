"""Makes a case's call over gRPC, with the generic interface of grpcio."""

from typing import Any

import grpc
from google.protobuf import json_format, message_factory
from google.rpc import error_details_pb2  # noqa: F401 - lets the details of errors be printed
from tests.contract.matching import Answer
from tests.service import TOKEN

from penstock.errors import PenstockError
from penstock.v1 import flow_pb2, history_pb2, run_pb2

TIMEOUT_S = 20.0
METHODS = {
    method.name: method
    for file in (flow_pb2.DESCRIPTOR, history_pb2.DESCRIPTOR, run_pb2.DESCRIPTOR)
    for service in file.services_by_name.values()
    for method in service.methods
}


def call(target: str, case: dict[str, Any]) -> Answer:
    """The answer to the case's call."""
    wanted = case["grpc"]
    method = METHODS[wanted["method"]]
    request = _request(wanted, message_factory.GetMessageClass(method.input_type))
    response = message_factory.GetMessageClass(method.output_type)
    with grpc.insecure_channel(target, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        kind = channel.unary_stream if method.server_streaming else channel.unary_unary
        stub = kind(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda data: data,
            response_deserializer=response.FromString,
        )
        arguments = {"metadata": _metadata(case), "timeout": wanted.get("timeout_s", TIMEOUT_S)}
        if method.server_streaming:
            return _stream(wanted, stub(request, **arguments))
        return _unary(wanted, stub, request, arguments)


def _unary(wanted: dict[str, Any], stub: Any, request: bytes, arguments: dict[str, Any]) -> Answer:
    try:
        response, made = stub.with_call(request, **arguments)
    except grpc.RpcError as error:
        return _failed(wanted, error, [])
    return Answer(expected=wanted, status="OK", headers=dict(made.initial_metadata()), response=_json(response))


def _stream(wanted: dict[str, Any], made: Any) -> Answer:
    events: list[Any] = []
    try:
        for message in made:
            [list_] = message.DESCRIPTOR.fields
            events += [_json(event) for event in getattr(message, list_.name)]
    except grpc.RpcError as error:
        return _failed(wanted, error, events)
    return Answer(expected=wanted, status="OK", headers=dict(made.initial_metadata()), events=events)


def _failed(wanted: dict[str, Any], rpc_error: Any, events: list[Any]) -> Answer:
    error = PenstockError.of_rpc(rpc_error)
    return Answer(
        expected=wanted,
        status=error.code.name,
        headers=dict(rpc_error.initial_metadata() or ()) | dict(rpc_error.trailing_metadata() or ()),
        events=events,
        reason=error.reason,
        message=error.message,
        violations=[field for field, _ in error.violations],
        retry_after=error.retry_after_s,
    )


def _request(wanted: dict[str, Any], message: Any) -> bytes:
    if "raw_hex" in wanted:
        return bytes.fromhex(wanted["raw_hex"])
    size = wanted.get("pad_bytes", 0)
    request = json_format.ParseDict(wanted.get("request", {}), message())
    if size:
        request.inputs["text"] = "x" * size
    return request.SerializeToString()


def _metadata(case: dict[str, Any]) -> list[tuple[str, str]]:
    token = case.get("token", TOKEN)
    authorization = [("authorization", token if " " in str(token) else f"Bearer {token}")] if token else []
    return authorization + [(key.lower(), str(value)) for key, value in case.get("metadata", {}).items()]


def _json(message: Any) -> Any:
    return _whole(json_format.MessageToDict(message, always_print_fields_with_no_presence=True))


def _whole(value: Any) -> Any:
    """Protobuf's own JSON prints the numbers of a Struct as floats."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
