"""The ready file appears whole and private, and a service that cannot be told of does not start."""

import asyncio
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from tests.cli.shell import FLOWS, refused
from tests.service import penstock

from penstock.cli.bridge import listening
from penstock.cli.flows import load
from penstock.cli.server import answering
from penstock_bridge.app import Bridge
from penstock_bridge.config import BridgeConfig
from penstock_bridge.upstream import connect
from penstock_server.config import ServerConfig

COMMANDS = {
    "serve": ("serve", "lifecycle:echo", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"),
    "server": ("server", "lifecycle:echo", "--grpc", "127.0.0.1:0"),
    "bridge": ("bridge", "--upstream", "127.0.0.1:1", "--http", "127.0.0.1:0"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_ready_file_is_private_and_nothing_else_is_left(tmp_path: Path, command: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (folder / "ready.json.tmp").symlink_to(precious)
    with penstock(*COMMANDS[command], folder=folder, cwd=FLOWS, env={"PENSTOCK_DATA": str(tmp_path / "data")}):
        assert stat.S_IMODE((folder / "ready.json").stat().st_mode) == 0o600
    assert precious.read_text() == "mine"
    assert {path.name for path in folder.iterdir()} == {"ready.json", "ready.json.tmp", "stdout", "stderr"}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", ["missing/ready.json", "folder", "file/ready.json"])
def test_a_ready_file_that_cannot_be_written_is_told_before_anything_is_served(
    tmp_path: Path, command: str, place: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    said = refused(*COMMANDS[command], "--ready-file", str(tmp_path / place), cwd=FLOWS)
    assert f"Error: the ready file {tmp_path / place} cannot be written: " in said
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_host_that_no_name_can_be_is_told(tmp_path: Path) -> None:
    assert "cannot listen on " in refused("bridge", "--http", "a" * 70 + ":0", cwd=tmp_path)


async def test_a_server_closes_its_port_however_its_time_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FLOWS)
    config = ServerConfig.model_validate({"grpc": "127.0.0.1:0", "data": str(tmp_path)})
    with suppress(ZeroDivisionError):
        async with answering(config, load(["lifecycle:echo"], config), []) as server:
            host, port = server.address.split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            raise ZeroDivisionError
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_a_bridge_closes_its_port_however_its_time_ends() -> None:
    config = BridgeConfig.model_validate({"http": "127.0.0.1:0"})
    async with connect(config.upstream, config) as channel:
        bridge = Bridge(channel, config)
        with suppress(ZeroDivisionError):
            async with listening(bridge, config):
                _, writer = await asyncio.open_connection(*bridge.address)
                writer.close()
                raise ZeroDivisionError
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*bridge.address)
