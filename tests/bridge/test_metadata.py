"""Headers that are passed on, and those that come back."""

import grpc
import pytest

from penstock import status as wire
from penstock.status import Code


async def test_the_callers_headers_reach_the_server(bridge, server, web):
    headers = {
        "Chat-Session-Id": "a" * 32,
        "Chat-User-Id": "alice",
        "Idempotency-Key": "k1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
        "X-Other": "stays",
        "Cookie": "stays=too",
    }
    async with web.post(bridge, "/", headers=headers) as answer:
        assert answer.status == 200
    seen = server.seen[0].metadata
    for name in ("Chat-Session-Id", "Chat-User-Id", "Idempotency-Key", "traceparent", "tracestate"):
        assert seen[name.lower()] == headers[name]
    assert seen["authorization"] == "Bearer t0ken"
    assert "x-other" not in seen
    assert "cookie" not in seen


@pytest.mark.parametrize("value", [b"al\xc3\xafce", b"a\tb", b"\xff", b"a\x7fb"])
async def test_a_value_that_metadata_cannot_carry_is_refused(bridge, server, dial, value):
    raw = await dial(bridge)
    raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nChat-User-Id: " + value)
    raw.send("\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    answer = await raw.rest()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"reason":"INVALID_REQUEST"' in answer
    assert server.seen == []


async def test_a_header_given_twice_is_refused(bridge, dial):
    raw = await dial(bridge)
    raw.send("POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nChat-User-Id: a\r\nChat-User-Id: b\r\n")
    raw.send("Connection: close\r\nContent-Length: 0\r\n\r\n")
    assert b"The header Chat-User-Id is given twice" in await raw.rest()


async def test_headers_that_are_larger_than_metadata_may_be_are_refused(bridge, server, web, reason_of):
    headers = {"tracestate": "a" * 4000, "Idempotency-Key": "b" * 4000}
    async with web.post(bridge, "/", headers=headers) as answer:
        assert reason_of(await answer.json()) == (431, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert server.seen == []


@pytest.mark.parametrize(("value", "seconds"), [("5S", 5), ("1500m", 1.5), ("1M", 60), ("2H", 7200), ("9000000u", 9)])
async def test_grpc_timeout_becomes_the_deadline(bridge, server, web, value, seconds):
    async with web.post(bridge, "/", headers={"Grpc-Timeout": value}) as answer:
        assert answer.status == 200
    remaining = server.seen[0].time_remaining_s
    assert remaining is not None
    # gRPC rounds up, to three digits.
    assert seconds - 1.4 < remaining < seconds * 1.01 + 0.1


async def test_without_grpc_timeout_there_is_no_deadline(bridge, server, web):
    async with web.post(bridge, "/") as answer:
        assert answer.status == 200
    assert server.seen[0].time_remaining_s is None


@pytest.mark.parametrize("value", ["5", "S", "5s", "-5S", "123456789S", "5 S", "1.5S", "٥S".encode().decode("latin-1")])
async def test_a_malformed_grpc_timeout_is_refused(bridge, server, web, reason_of, value):
    async with web.post(bridge, "/", headers={"Grpc-Timeout": value}) as answer:
        assert reason_of(await answer.json()) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert server.seen == []


async def test_a_deadline_that_passes_is_504(bridge, server, web, reason_of):
    import asyncio

    async def never(request, context):
        await asyncio.sleep(3600)

    server.invoke = never
    async with web.post(bridge, "/", headers={"Grpc-Timeout": "100m"}) as answer:
        assert reason_of(await answer.json()) == (504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")


async def test_an_error_carries_session_and_run_wherever_the_server_named_them(bridge, server, web, speak):
    async def initially(request, context):
        await speak.accept(context)
        await speak.fail(context, wire.build(Code.UNKNOWN, "FLOW_FAILED", "The flow failed"))

    async def finally_(request, context):
        status = wire.build(Code.ABORTED, "SESSION_BUSY", "Busy")
        details = ((wire.STATUS_DETAILS_KEY, status.SerializeToString()), *speak.ACCEPTED)
        await context.abort(grpc.StatusCode.ABORTED, "Busy", trailing_metadata=details)

    for script, code in ((initially, 500), (finally_, 409)):
        server.invoke = script
        async with web.post(bridge, "/") as answer:
            assert answer.status == code
            assert answer.headers["Chat-Session-Id"] == speak.SESSION
            assert answer.headers["Penstock-Run-Id"] == speak.RUN
