"""Failures of the server, as HTTP shows them."""

from io import BytesIO

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import Help

from penstock import status as wire
from penstock.status import Code
from penstock.v1 import error_pb2
from penstock_bridge.errors import HTTP_STATUS, HTTP_STATUS_BY_REASON

CASES = [
    (Code.INVALID_ARGUMENT, "INVALID_INPUT", 400),
    (Code.OUT_OF_RANGE, "CURSOR_EXPIRED", 400),
    (Code.UNAUTHENTICATED, "TOKEN_INVALID", 401),
    (Code.PERMISSION_DENIED, "NOT_ALLOWED", 403),
    (Code.NOT_FOUND, "FLOW_NOT_FOUND", 404),
    (Code.ABORTED, "SESSION_BUSY", 409),
    (Code.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED", 409),
    (Code.NOT_FOUND, "RUN_NOT_FOUND", 404),
    (Code.UNAVAILABLE, "RUN_INTERRUPTED", 503),
    (Code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", 413),
    (Code.RESOURCE_EXHAUSTED, "RUN_TOO_LARGE", 413),
    (Code.RESOURCE_EXHAUSTED, "TOO_MANY_RUNS", 429),
    (Code.CANCELLED, "RUN_CANCELED", 499),
    (Code.UNKNOWN, "FLOW_FAILED", 500),
    (Code.INTERNAL, "INTERNAL", 500),
    (Code.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", 503),
    (Code.UNAVAILABLE, "DRAINING", 503),
    (Code.FAILED_PRECONDITION, "MODEL_REFUSED", 400),
    (Code.DEADLINE_EXCEEDED, "READER_STALLED", 504),
    (Code.UNIMPLEMENTED, "METHOD_NOT_FOUND", 501),
    (Code.DATA_LOSS, "INTERNAL", 500),
]


@pytest.mark.parametrize(("code", "reason", "http"), CASES)
async def test_a_status_keeps_its_code_reason_and_message(bridge, server, web, speak, reason_of, code, reason, http):
    async def refuse(request, context):
        await speak.fail(context, wire.build(code, reason, "It is so", metadata={"flow": "f"}))

    server.invoke = refuse
    async with web.post(bridge, "/") as answer:
        assert answer.status == http
        body = await answer.json()
    assert reason_of(body) == (http, code.name, reason)
    assert body["error"]["message"] == "It is so"
    assert body["error"]["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "penstock",
        "metadata": {"flow": "f"},
    }


async def test_all_details_are_shown(bridge, server, web, speak):
    status = wire.build(
        Code.UNAVAILABLE, "DRAINING", "Later", violations=[("inputs.a", "is missing")], retry_after_s=1.2
    )
    packed = Any()
    packed.Pack(Help(links=[Help.Link(description="d", url="u")]))
    status.details.append(packed)
    status.details.append(Any(type_url="type.googleapis.com/some.Unknown", value=b"\x01"))

    async def refuse(request, context):
        await speak.fail(context, status)

    server.invoke = refuse
    async with web.post(bridge, "/") as answer:
        assert answer.headers["Retry-After"] == "2"
        details = (await answer.json())["error"]["details"]
    assert details[1]["fieldViolations"][0]["field"] == "inputs.a"
    assert details[2] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}
    assert details[3]["links"] == [{"description": "d", "url": "u"}]
    assert details[4] == {"@type": "type.googleapis.com/some.Unknown", "value": "AQ=="}


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_a_queue_that_is_full_says_when_to_try_again(bridge, server, web, speak, reason_of, kind):
    status = wire.build(Code.RESOURCE_EXHAUSTED, "TOO_MANY_RUNS", "Full", retry_after_s=3)

    async def refuse(request, context):
        await speak.fail(context, status)

    async def refuse_stream(request, context):
        await speak.fail(context, status)
        yield speak.batch()

    server.invoke, server.stream = refuse, refuse_stream
    async with web.post(bridge, "/", headers={"Accept": kind}) as answer:
        assert answer.headers["Retry-After"] == "3"
        assert reason_of(await answer.json()) == (429, "RESOURCE_EXHAUSTED", "TOO_MANY_RUNS")


async def test_401_asks_for_a_bearer(bridge, server, web, speak):
    async def refuse(request, context):
        await speak.fail(context, wire.build(Code.UNAUTHENTICATED, "TOKEN_INVALID", "Who?"))

    server.invoke = refuse
    async with web.post(bridge, "/") as answer:
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("code", "http", "reason"),
    [
        (grpc.StatusCode.UNKNOWN, 500, "INTERNAL"),
        (grpc.StatusCode.INTERNAL, 500, "INTERNAL"),
        (grpc.StatusCode.UNAVAILABLE, 503, "SERVER_UNREACHABLE"),
        (grpc.StatusCode.UNIMPLEMENTED, 501, "METHOD_NOT_FOUND"),
        (grpc.StatusCode.CANCELLED, 503, "SERVER_UNREACHABLE"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "TOO_MANY_RUNS"),
        (grpc.StatusCode.INVALID_ARGUMENT, 400, "INVALID_REQUEST"),
        (grpc.StatusCode.PERMISSION_DENIED, 403, "NOT_ALLOWED"),
        (grpc.StatusCode.DATA_LOSS, 500, "INTERNAL"),
    ],
)
async def test_a_failure_without_a_description_tells_no_internals(bridge, server, web, reason_of, code, http, reason):
    async def refuse(request, context):
        await context.abort(code, "secret: /etc/passwd")

    server.invoke = refuse
    async with web.post(bridge, "/") as answer:
        body = await answer.json()
    assert reason_of(body)[::2] == (http, reason)
    assert "secret" not in body["error"]["message"]


async def test_details_that_do_not_parse_are_no_details(bridge, server, web, reason_of):
    async def refuse(request, context):
        await context.abort(grpc.StatusCode.INTERNAL, "x", trailing_metadata=((wire.STATUS_DETAILS_KEY, b"\xff"),))

    server.invoke = refuse
    async with web.post(bridge, "/") as answer:
        assert reason_of(await answer.json()) == (500, "INTERNAL", "INTERNAL")


async def test_a_message_over_the_servers_limit_is_413(start_bridge, web, reason_of):
    bridge = await start_bridge(body_bytes_max=8 * 1024 * 1024)
    body = BytesIO(b'{"a":"%b"}' % (b"x" * 5 * 1024 * 1024))
    async with web.post(bridge, "/", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert reason_of(await answer.json()) == (413, "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")


async def test_an_answer_over_the_bridges_limit_is_413(start_bridge, web, reason_of):
    bridge = await start_bridge(answer_bytes_max=1000)
    async with web.post(bridge, "/", json={"a": "x" * 2000}) as answer:
        assert reason_of(await answer.json()) == (413, "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")


async def test_a_closed_channel_is_an_unreachable_server(server, web, reason_of):
    from penstock_bridge.app import Bridge
    from penstock_bridge.config import BridgeConfig
    from penstock_bridge.upstream import connect

    config = BridgeConfig(http="127.0.0.1:0")
    channel = connect(server.target, config)
    bridge = Bridge(channel, config)
    await bridge.start()
    await channel.close()
    for kind in ("application/json", "text/event-stream"):
        async with web.post(bridge, "/", headers={"Accept": kind}) as answer:
            assert reason_of(await answer.json()) == (503, "UNAVAILABLE", "SERVER_UNREACHABLE")
    await bridge.stop()


async def test_an_answer_that_json_cannot_say_is_a_defect(bridge, server, web, reason_of, caplog):
    from penstock.v1 import run_pb2

    async def impossible(request, context):
        run = run_pb2.Run()
        run.outputs.fields["a"].number_value = float("nan")
        return run

    server.invoke = impossible
    async with web.post(bridge, "/run") as answer:
        body = await answer.json()
    assert reason_of(body) == (500, "INTERNAL", "INTERNAL")
    assert body["error"]["details"][0]["metadata"]["incident"] in caplog.text


def test_every_code_has_a_status_and_every_reason_is_the_contracts() -> None:
    assert set(HTTP_STATUS) == set(Code)
    assert set(HTTP_STATUS_BY_REASON) <= set(error_pb2.ErrorReason.keys())


async def test_a_long_description_of_an_error_arrives_whole(bridge, server, web, speak):
    violations = [(f"inputs.field_{number}", "is required, and it is missing") for number in range(200)]

    async def refuse(request, context):
        await speak.fail(context, wire.build(Code.INVALID_ARGUMENT, "INVALID_REQUEST", "Much", violations=violations))

    server.invoke = refuse
    async with web.post(bridge, "/") as answer:
        details = (await answer.json())["error"]["details"]
    assert len(details[1]["fieldViolations"]) == 200
