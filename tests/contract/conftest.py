"""Starts the processes that the contract's cases are run against, once for all of them."""

from collections.abc import Iterator

import pytest
from tests.contract.services import FLOWS, HERE, LIMITS, Doors
from tests.service import TOKEN, penstock


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A server with a bridge before it, and a server with its bridge in one process."""
    folder = tmp_path_factory.mktemp("contract")
    env = {**LIMITS, "PENSTOCK_TOKENS": TOKEN}
    with (
        penstock("server", *FLOWS, "--grpc", "127.0.0.1:0", folder=folder / "server", cwd=HERE, env=env) as server,
        penstock(
            "bridge", "--upstream", server.grpc, "--http", "127.0.0.1:0", folder=folder / "bridge", cwd=HERE, env=env
        ) as bridge,
        penstock(
            "serve", *FLOWS, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
            folder=folder / "serve", cwd=HERE, env=env,
        ) as serve,
    ):  # fmt: skip
        yield Doors(grpc=server.grpc, split=bridge.http, one_process=serve.http)
