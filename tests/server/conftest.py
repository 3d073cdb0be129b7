"""A server of the contract's flows in this process, and the two ways to call it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from penstock.v1 import flow_pb2, flow_pb2_grpc
from penstock.values import to_struct
from penstock_server.app import Server
from penstock_server.config import ServerConfig
from penstock_server.flows.loader import load_all

FLOWS = Path(__file__).parent / "flows"
TOKEN = "t"
WAIT_S = 5.0  # less than the server waits for a reader that takes nothing
METADATA = (("authorization", f"Bearer {TOKEN}"),)
TARGETS = (
    *(f"server_flows:{name}" for name in ("echo", "tokens", "never", "endless", "hidden_context", "waits", "cleans")),
    str(FLOWS / "streaming"),
)


async def until(condition: Callable[[], object]) -> None:
    """Waits until it holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def request(flow: str, **inputs: object) -> flow_pb2.InvokeRequest:
    """An InvokeRequest."""
    message = flow_pb2.InvokeRequest(flow=flow)
    to_struct(inputs, message.inputs)
    return message


@pytest.fixture
def config() -> ServerConfig:
    """The server's settings; a test module may replace them."""
    return ServerConfig(
        grpc="127.0.0.1:0",
        message_bytes_max=65536,
        answer_bytes_max=65536,
        run_log_bytes_max=2**30,
        drain_s=0.2,
    )


@pytest.fixture
async def server(config: ServerConfig, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A running server."""
    monkeypatch.syspath_prepend(str(FLOWS))
    running = Server(config, load_all(TARGETS), [TOKEN])
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(params=["socket", "in process"])
async def channel(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the server: over a socket, or in process. Both must behave alike."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    opened: Callable[[], grpc.aio.Channel] = (
        server.channel if request.param == "in process" else lambda: grpc.aio.insecure_channel(server.address, options)
    )
    async with opened() as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    """The generated stub on either channel."""
    return flow_pb2_grpc.FlowServiceStub(channel)
