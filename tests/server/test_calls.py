"""Calls behave alike over a socket and in process."""

import asyncio
import gc
import sys
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.server.conftest import METADATA, request, until

from penstock.errors import PenstockError
from penstock.v1 import flow_pb2, flow_pb2_grpc
from penstock.values import from_struct
from penstock_server.app import Server

Stub = Any  # the generated stub, asynchronous
FAILED_CALLS = 50
OBJECTS_A_CALL_MAX = 30
"""With the frames of its traceback it would be 50."""


async def accepted(call: Any, server: Server) -> list[Any]:
    """The call, in a list that awaits nothing, once its run lives.

    grpc.aio shows a unary call's initial metadata only with its answer.
    """
    await until(lambda: server.runs_live == 1)
    return [call]


def ended() -> list[str]:
    """What flows have reached their `finally`."""
    return sys.modules["server_flows"].ended


async def test_a_unary_call_is_answered_with_its_metadata(stub: Stub) -> None:
    call = stub.Invoke(request("echo", text="hi"), metadata=METADATA)
    headers = dict(await call.initial_metadata())
    run = await call
    assert from_struct(run.outputs) == {"output": "hi"}
    assert headers["penstock-run-id"] == run.run
    assert headers["chat-session-id"] == run.session
    assert await call.code() is grpc.StatusCode.OK
    assert call.done()


@pytest.mark.parametrize("method", ["Invoke", "InvokeStream"])
async def test_failed_calls_leave_little_to_the_garbage_collector(stub: Stub, method: str) -> None:
    async def fail() -> None:
        call = getattr(stub, method)(request("nope"), metadata=METADATA)
        with pytest.raises(grpc.aio.AioRpcError):
            _ = [event async for event in call] if method == "InvokeStream" else await call

    await fail()
    gc.collect()
    gc.disable()
    try:
        for _ in range(FAILED_CALLS):
            await fail()
        await asyncio.sleep(0.1)
        objects = gc.collect()
    finally:
        gc.enable()
    assert objects / FAILED_CALLS < OBJECTS_A_CALL_MAX


async def test_a_failed_call_raises_the_same_error(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Invoke(request("nope"), metadata=METADATA)
    error = PenstockError.of_rpc(caught.value)
    assert (error.code.name, error.reason) == ("NOT_FOUND", "FLOW_NOT_FOUND")


async def test_a_stream_tells_every_event_in_order(stub: Stub) -> None:
    call = stub.InvokeStream(request("tokens", n=50), metadata=METADATA)
    sequences = [event.sequence async for response in call for event in response.events]
    assert sequences == list(range(1, 53))
    assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_names_its_run_before_the_first_message_and_again_with_the_status(stub: Stub) -> None:
    call = stub.InvokeStream(request("tokens", n=1), metadata=METADATA)
    initial = dict(await call.initial_metadata())
    assert [response async for response in call]
    assert dict(await call.trailing_metadata()) == initial
    assert initial.keys() == {"chat-session-id", "penstock-run-id"}


async def test_reading_past_the_end_gives_the_end(stub: Stub) -> None:
    call = stub.InvokeStream(request("tokens", n=1), metadata=METADATA)
    while await call.read() is not grpc.aio.EOF:
        pass
    assert await call.read() is grpc.aio.EOF


async def test_a_cancelled_unary_call_ends_its_flow(stub: Stub, server: Server) -> None:
    ended().clear()
    [call] = await accepted(stub.Invoke(request("never"), metadata=METADATA), server)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelled()
    await until(lambda: ended() == ["never"])


async def test_a_cancelled_waiter_cancels_the_call(stub: Stub, server: Server) -> None:
    ended().clear()
    [call] = await accepted(stub.Invoke(request("never"), metadata=METADATA), server)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call, 0.05)
    await until(lambda: ended() == ["never"])


async def test_a_cancelled_stream_ends_its_flow(stub: Stub, server: Server) -> None:
    ended().clear()
    call = stub.InvokeStream(request("endless"), metadata=METADATA)
    await call.read()
    call.cancel()
    await until(lambda: ended() == ["endless"])
    await until(lambda: server.runs_live == 0)


async def test_a_run_that_may_goes_on_without_its_caller(stub: Stub, server: Server) -> None:
    asked = request("waits", seconds=0.3)
    asked.options.on_disconnect = flow_pb2.InvokeOptions.CONTINUE
    [call] = await accepted(stub.Invoke(asked, metadata=METADATA), server)
    call.cancel()
    await asyncio.sleep(0.1)
    assert server.runs_live == 1
    await until(lambda: server.runs_live == 0)


async def test_a_deadline_ends_the_call_and_its_flow(stub: Stub) -> None:
    ended().clear()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Invoke(request("never"), metadata=METADATA, timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: ended() == ["never"])


async def test_what_the_caller_does_to_its_message_afterwards_changes_nothing(server: Server) -> None:
    stub = flow_pb2_grpc.FlowServiceStub(server.channel())  # over a socket, grpc.aio itself reads the message late
    asked = request("echo", text="before")
    call = stub.Invoke(asked, metadata=METADATA)
    asked.inputs["text"] = "after"
    assert from_struct((await call).outputs) == {"output": "before"}


async def test_what_a_caller_does_to_an_answer_changes_nothing(stub: Stub) -> None:
    first = await stub.GetFlow(flow_pb2.GetFlowRequest(flow="echo"))
    first.flow = "changed"
    assert (await stub.GetFlow(flow_pb2.GetFlowRequest(flow="echo"))).flow == "echo"


async def test_a_flow_does_not_see_its_caller_s_context(stub: Stub) -> None:
    caller = sys.modules["server_flows"].caller
    token = caller.set("something")
    try:
        run = await stub.Invoke(request("hidden_context"), metadata=METADATA)
    finally:
        caller.reset(token)
    assert from_struct(run.outputs) == {"output": "nothing"}


async def test_a_cancelled_stream_whose_reader_was_behind_ends_its_flow(stub: Stub, server: Server) -> None:
    ended().clear()
    call = stub.InvokeStream(request("endless"), metadata=METADATA)
    await call.read()
    await asyncio.sleep(0.3)  # the flow has run ahead by all that it may
    call.cancel()
    await until(lambda: ended() == ["endless"])


async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary("/penstock.v1.FlowService/Nope", lambda message: b"", lambda data: data)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(flow_pb2.GetFlowRequest(), metadata=METADATA)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_answer_over_the_limit_is_refused(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Invoke(request("echo", text="x" * 40_000), metadata=METADATA)  # inputs and outputs: twice that
    assert PenstockError.of_rpc(caught.value).reason == "MESSAGE_TOO_LARGE"


async def test_too_much_metadata_is_refused(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Invoke(request("echo"), metadata=(*METADATA, ("x-long", "x" * 20_000)))
    assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_session_that_is_given_twice_is_refused(stub: Stub) -> None:
    twice = (("chat-session-id", "a" * 32), ("chat-session-id", "b" * 32))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Invoke(request("echo"), metadata=(*METADATA, *twice))
    assert PenstockError.of_rpc(caught.value).violations == (("chat-session-id", "is given more than once"),)


async def test_health_is_told_for_the_server_by_its_name_and_for_each_service(channel: grpc.aio.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "penstock", "penstock.v1.FlowService", "grpc.health.v1.Health"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(health_pb2.HealthCheckRequest(service="nope"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_of_health_sees_the_server_drain(channel: grpc.aio.Channel, server: Server) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    await server.drain()
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()


async def test_a_draining_server_still_answers_probes(channel: grpc.aio.Channel, server: Server) -> None:
    await server.drain()
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_draining_server_finishes_what_runs_and_refuses_what_comes(stub: Stub, server: Server) -> None:
    [running] = await accepted(stub.Invoke(request("waits", seconds=0.1), metadata=METADATA), server)
    draining = asyncio.create_task(server.drain())
    await asyncio.sleep(0.02)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Invoke(request("echo"), metadata=METADATA)
    error = PenstockError.of_rpc(caught.value)
    assert (error.code.name, error.reason) == ("UNAVAILABLE", "DRAINING")
    assert error.retry_after_s is not None
    assert from_struct((await running).outputs) == {"output": "done"}
    await draining


async def test_a_run_that_outlives_the_drain_is_interrupted(stub: Stub, server: Server) -> None:
    [running] = await accepted(stub.Invoke(request("never"), metadata=METADATA), server)
    await server.drain()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running
    assert PenstockError.of_rpc(caught.value).reason == "RUN_INTERRUPTED"
