"""Runs that say more than their database takes, over a socket and in process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from tests.databases import DatabaseServer, MariaDb, running
from tests.server.conftest import FLOWS, METADATA, TOKEN, request

from penstock.errors import PenstockError
from penstock.v1.run_pb2 import GetRunRequest, Run
from penstock.v1.run_pb2_grpc import RunServiceStub
from penstock_server.app import Server
from penstock_server.config import ServerConfig
from penstock_server.flows.loader import load_all
from penstock_server.store.sql.databases.url import parse
from penstock_server.store.sql.store import SqlStore, StoreSettings
from penstock_server.store.sql.turns import turns

PATIENCE_S = 30.0
SESSION = (*METADATA, ("chat-session-id", "s" * 32))


@pytest.fixture(scope="module")
def mariadb() -> Iterator[DatabaseServer]:
    with running(MariaDb) as server:
        yield server


@pytest.fixture
async def server(
    config: ServerConfig, mariadb: DatabaseServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Server]:
    monkeypatch.syspath_prepend(str(FLOWS))
    monkeypatch.setattr(turns, "PATIENCE_S", PATIENCE_S)  # the machine may have other things to do
    name = f"large_{abs(hash(request.node.name))}"
    store = SqlStore(
        parse(mariadb.create(name)), StoreSettings(service="test", store_timeout_s=PATIENCE_S), instance="one"
    )
    await store.open()
    running_server = Server(config, load_all(["chat_flows:bulky", "chat_flows:told"]), [TOKEN], store)
    await running_server.start()
    yield running_server
    await running_server.stop()


@pytest.mark.parametrize("pieces", ["1", "9"])
async def test_an_answer_that_the_database_does_not_take_fails_its_run_alone(
    stub: Any, channel: grpc.aio.Channel, pieces: str
) -> None:
    """In one piece, no part of its log is taken either."""
    large = stub.Invoke(request("bulky", question=pieces), metadata=SESSION)
    others = [stub.Invoke(request("told", question=str(number)), metadata=METADATA) for number in range(20)]
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await large
        answers = await asyncio.gather(*others)
    error = PenstockError.of_rpc(failed.value)
    assert (error.code.name, error.reason) == ("RESOURCE_EXHAUSTED", "RUN_TOO_LARGE")
    assert "max_allowed_packet" in error.message
    assert {answer.status for answer in answers} == {Run.SUCCEEDED}
    runs = RunServiceStub(channel)
    run = await runs.GetRun(GetRunRequest(run=error.metadata["run"]), metadata=METADATA)
    assert (run.status, dict(run.outputs)) == (Run.FAILED, {})
    again = await stub.Invoke(request("told", question="next"), metadata=SESSION)
    assert again.status == Run.SUCCEEDED, "the session goes on"
