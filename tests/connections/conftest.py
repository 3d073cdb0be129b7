import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock_server.flows.connections import check
from penstock_server.flows.connections.check import Finding
from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.connections.declaration import Declaration
from penstock_server.store.sql.databases.probe import probe

TIMEOUT_S = 10.0


@pytest.fixture
def try_one() -> Callable[..., Any]:
    """Tries a connection of a type that is made of these values."""

    async def run(type: str, timeout_s: float = TIMEOUT_S, **values: object) -> Finding:
        declared = {"tried": Declaration(name="tried", type=type, values=values, origin="the test")}
        (finding,) = await check.check(Connections(declared, {}), ["tried"], probe_database=probe, timeout_s=timeout_s)
        assert "\n" not in finding.text
        return finding

    return run


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections come about, and nobody ever says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture
def closed_port() -> int:
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
