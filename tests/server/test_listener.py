"""Calls over several connections, which several servers of one port take."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.server.conftest import FLOWS, METADATA, request

from penstock.errors import PenstockError
from penstock.v1 import flow_pb2_grpc
from penstock_server.app import Server, StartError
from penstock_server.config import ServerConfig
from penstock_server.flows.loader import load_all
from penstock_server.listener import SERVERS

CALLS_MAX = 3
CONNECTIONS = 4 * SERVERS
WAIT_S = 5.0


@pytest.fixture
def config(config: ServerConfig) -> ServerConfig:
    return config.model_copy(update={"calls_max": CALLS_MAX})


@pytest.fixture
async def connections(server: Server) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Connections of their own to the server."""
    own = (("grpc.use_local_subchannel_pool", 1),)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(grpc.aio.insecure_channel(server.address, own)) for _ in range(CONNECTIONS)
        ]


async def opened(channel: grpc.aio.Channel) -> Any:
    """A stream that lives."""
    call = flow_pb2_grpc.FlowServiceStub(channel).InvokeStream(request("endless"), metadata=METADATA)
    await call.read()
    return call


async def refused(channel: grpc.aio.Channel) -> PenstockError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await flow_pb2_grpc.FlowServiceStub(channel).Invoke(request("echo"), metadata=METADATA)
    return PenstockError.of_rpc(caught.value)


async def test_every_connection_is_answered(connections: list[grpc.aio.Channel]) -> None:
    for channel in connections:
        run = await flow_pb2_grpc.FlowServiceStub(channel).Invoke(request("echo", text="hi"), metadata=METADATA)
        assert run.outputs["output"] == "hi"


async def test_the_calls_of_all_connections_count_as_one_number(connections: list[grpc.aio.Channel]) -> None:
    calls = [await opened(channel) for channel in connections[:CALLS_MAX]]
    for channel in connections[CALLS_MAX:]:
        error = await refused(channel)
        assert (error.code.name, error.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_RUNS")
        assert "3 (calls_max)" in error.message
    calls[0].cancel()
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await flow_pb2_grpc.FlowServiceStub(connections[-1]).Invoke(request("echo"), metadata=METADATA)
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.02)
    for call in calls:
        call.cancel()


async def test_calls_in_process_count_as_well_and_probes_do_not(server: Server) -> None:
    async with server.channel() as channel:
        calls = [await opened(channel) for _ in range(CALLS_MAX)]
        assert (await refused(channel)).reason == "TOO_MANY_RUNS"
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        for call in calls:
            call.cancel()


async def test_a_second_server_of_the_port_is_refused_and_leaves_it_to_the_first(
    server: Server, config: ServerConfig, connections: list[grpc.aio.Channel]
) -> None:
    second = Server(config.model_copy(update={"grpc": server.address}), load_all(["server_flows:echo"]), [])
    with pytest.raises(StartError, match="cannot listen on"):
        await second.start()
    await second.stop()
    for channel in connections:
        await flow_pb2_grpc.FlowServiceStub(channel).Invoke(request("echo"), metadata=METADATA)


async def test_a_second_server_of_a_path_is_refused_and_one_that_was_left_behind_is_taken(
    config: ServerConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(FLOWS))
    config = config.model_copy(update={"grpc": f"unix:{tmp_path}/socket"})
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/socket")
    first, second = (Server(config, load_all(["server_flows:echo"]), []) for _ in range(2))
    await first.start()
    with pytest.raises(StartError, match="cannot listen on"):
        await second.start()
    await second.stop()
    async with grpc.aio.insecure_channel(first.address) as channel:
        await flow_pb2_grpc.FlowServiceStub(channel).Invoke(request("echo"), metadata=METADATA)
    await first.stop()


async def test_the_port_is_free_again_once_the_server_has_stopped(
    config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FLOWS))
    first = Server(config, load_all(["server_flows:echo"]), [])
    await first.start()
    address = first.address
    await first.stop()
    again = Server(config.model_copy(update={"grpc": address}), load_all(["server_flows:echo"]), [])
    await again.start()
    assert again.address == address
    await again.stop()
