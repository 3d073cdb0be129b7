"""A reader that takes nothing costs little, and not for long."""

import asyncio
from typing import Any

import grpc
import pytest
from tests.server.conftest import METADATA, request, until

from penstock.errors import PenstockError
from penstock.v1.flow_pb2 import InvokeOptions
from penstock_server.app import Server
from penstock_server.config import ServerConfig

Stub = Any  # the generated stub, asynchronous
# Over a socket, the client's own library reads ahead by some megabytes before the server notices anything.
NOTICE_S = 60.0


@pytest.fixture
def config() -> ServerConfig:
    """The server's settings, impatient."""
    return ServerConfig(grpc="127.0.0.1:0", run_log_bytes_max=2**30, drain_s=0.2, write_timeout_s=1)


async def stalled(stub: Stub, server: Server, **options: Any) -> Any:
    """A call that has read one message and then nothing, until its reader was given up."""
    asked = request("endless")
    asked.options.CopyFrom(InvokeOptions(**options))
    call = stub.InvokeStream(asked, metadata=METADATA)
    await call.read()
    run = next(iter(server._runs._live.values()))
    async with asyncio.timeout(NOTICE_S):
        while run.log._readers:
            await asyncio.sleep(0.05)
    assert not run.log._events
    return [call]


async def to_the_end(call: Any) -> None:
    """Reads what is left."""
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_its_run_ends_and_it_is_told_why_when_it_reads_on(stub: Stub, server: Server) -> None:
    [call] = await stalled(stub, server)
    await until(lambda: server.runs_live == 0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await to_the_end(call)
    assert PenstockError.of_rpc(caught.value).reason == "READER_STALLED"


async def test_a_run_that_may_goes_on_without_it(stub: Stub, server: Server) -> None:
    [call] = await stalled(stub, server, on_disconnect=InvokeOptions.CONTINUE)
    run = next(iter(server._runs._live.values()))
    told = run.log.last_sequence
    await asyncio.sleep(0.2)
    assert run.log.last_sequence > told
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await to_the_end(call)
    assert PenstockError.of_rpc(caught.value).reason == "READER_STALLED"
