"""A server that stops ends every run once, tells every reader, and waits for clean-up."""

import asyncio
import sys
from typing import Any

import grpc
import pytest
from tests.server.conftest import METADATA, request

from penstock.errors import PenstockError
from penstock_server.app import Server

Stub = Any  # the generated stub, asynchronous
WAIT_S = 5.0


async def started(call: Any, server: Server) -> list[Any]:
    """The call, in a list that awaits nothing, once its run lives."""
    async with asyncio.timeout(WAIT_S):
        while server.runs_live == 0:
            await asyncio.sleep(0.01)
    return [call]


async def events(call: Any) -> list[Any]:
    """All events, and the error that the stream ended with."""
    told: list[Any] = []
    try:
        while (message := await call.read()) is not grpc.aio.EOF:
            told += message.events
    except grpc.aio.AioRpcError as error:
        told.append(PenstockError.of_rpc(error))
    return told


@pytest.mark.parametrize("flow", ["streaming", "endless"])
async def test_nothing_follows_the_end_of_an_interrupted_run(stub: Stub, server: Server, flow: str) -> None:
    [call] = await started(stub.InvokeStream(request(flow), metadata=METADATA), server)
    reading = asyncio.create_task(events(call))
    await asyncio.sleep(0.1)
    await server.drain()
    *told, error = await asyncio.wait_for(reading, WAIT_S)
    assert error.reason == "RUN_INTERRUPTED"
    assert told[-1].WhichOneof("event") == "run_finished"
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))
    assert sum(event.WhichOneof("event") == "run_finished" for event in told) == 1


async def test_a_stop_waits_until_cancelled_flows_have_cleaned_up(stub: Stub, server: Server) -> None:
    ended: list[str] = sys.modules["server_flows"].ended
    ended.clear()
    [call] = await started(stub.Invoke(request("cleans", seconds=0.3), metadata=METADATA), server)
    await server.drain()
    assert ended == ["cleans"]
    assert server.runs_live == 0
    with pytest.raises(grpc.aio.AioRpcError):
        await call


async def test_a_stop_ends_every_call(stub: Stub, server: Server) -> None:
    call = stub.InvokeStream(request("endless"), metadata=METADATA)
    await call.read()
    await server.stop()
    *_, error = await asyncio.wait_for(events(call), WAIT_S)
    assert isinstance(error, PenstockError)
