"""Instances of a service that share one database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import FLOWS, TOKEN
from tests.server.runs.calls import GRACE_S, LEASE_S, Instance

from penstock.v1 import flow_pb2_grpc, run_pb2_grpc
from penstock_server.app import Server
from penstock_server.config import ServerConfig
from penstock_server.flows.loader import load_all
from penstock_server.store.sql.databases import url
from penstock_server.store.sql.store import SqlStore, StoreSettings

TARGETS = (
    *(f"chat_flows:{name}" for name in ("told", "gated", "breaks")),
    *(f"server_flows:{name}" for name in ("cleans", "echo", "endless", "never", "tokens")),
)


@pytest.fixture
def config() -> ServerConfig:
    """Short times."""
    return ServerConfig(
        grpc="127.0.0.1:0",
        drain_s=0.1,
        disconnect_grace_s=GRACE_S,
        lease_s=LEASE_S,
        session_queue_max=2,
        run_log_bytes_max=2**30,
    )


@pytest.fixture
async def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[ServerConfig, str], Awaitable[Instance]]]:
    """Starts instances that share one database, as the workers of a supervisor do."""
    monkeypatch.syspath_prepend(str(FLOWS))
    servers: list[Server] = []

    async def start(config: ServerConfig, name: str) -> Instance:
        settings = StoreSettings(service="test", shared=True)
        store = SqlStore(url.parse(url.file(tmp_path / "store.db")), settings, instance=name)
        await store.open()
        server = Server(config, load_all(TARGETS), [TOKEN], store)
        await server.start()
        servers.append(server)
        channel = server.channel()
        return Instance(server, flow_pb2_grpc.FlowServiceStub(channel), run_pb2_grpc.RunServiceStub(channel))

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
async def one(start: Any, config: ServerConfig) -> Instance:
    """An instance."""
    import chat_flows
    import server_flows

    chat_flows.executed.clear()
    chat_flows.gates.clear()
    server_flows.ended.clear()
    instance: Instance = await start(config, "one")
    return instance


@pytest.fixture
async def other(one: Instance, start: Any, config: ServerConfig) -> Instance:
    """Another instance of the same service."""
    instance: Instance = await start(config, "other")
    return instance


@pytest.fixture(params=["the same instance", "another instance"])
def second(request: pytest.FixtureRequest) -> Instance:
    """Whom the second call goes to: both must behave alike."""
    instance: Instance = request.getfixturevalue("one" if request.param == "the same instance" else "other")
    return instance
