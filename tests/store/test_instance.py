"""An SQLite store has one instance at a time; servers share the other databases."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from penstock_server.store.errors import StoreError
from penstock_server.store.sql.databases.url import parse
from penstock_server.store.sql.store import SqlStore, StoreSettings


def another(url: str, settings: StoreSettings, instance: str = "another") -> SqlStore:
    return SqlStore(parse(url), settings, instance=instance)


async def test_a_second_instance_on_sqlite_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    url, settings = f"sqlite:///{tmp_path}/chat.db", StoreSettings(service="test")
    first = another(url, settings)
    await first.open()
    (tmp_path / "link.db").symlink_to(tmp_path / "chat.db")
    for address in (url, f"sqlite:///{tmp_path}/link.db"):
        with pytest.raises(StoreError) as refused:
            await another(address, settings).open()
        assert f"is in use by process {os.getpid()}" in str(refused.value)
        assert "--store sqlite:///PATH" in str(refused.value)
    await first.close()
    second = another(url, settings)
    await second.open()
    await second.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is an instance on the file `chat.db`."""
    code = (
        "import asyncio, sys\n"
        "from penstock_server.store.sql.store import SqlStore, StoreSettings\n"
        "from penstock_server.store.sql.databases.url import parse\n"
        "async def main():\n"
        "    await SqlStore(parse(sys.argv[1]), StoreSettings(service='test'), instance='first').open()\n"
        "    print('open', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    address = f"sqlite:///{tmp_path}/chat.db"
    with subprocess.Popen([sys.executable, "-c", code, address], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
        process.kill()


async def test_a_killed_instance_gives_the_file_free(running: subprocess.Popen[bytes], tmp_path: Path) -> None:
    url, settings = f"sqlite:///{tmp_path}/chat.db", StoreSettings(service="test")
    with pytest.raises(StoreError, match=f"is in use by process {running.pid}"):
        await another(url, settings).open()
    running.kill()
    running.wait()
    second = another(url, settings)
    await second.open()
    await second.close()


async def test_workers_share_the_file_that_their_supervisor_possesses(tmp_path: Path) -> None:
    url, alone = f"sqlite:///{tmp_path}/chat.db", StoreSettings(service="test")
    supervisor = another(url, alone)
    await supervisor.open()
    kept = [os.dup(handle) for handle in supervisor.database.possession]
    await supervisor.close()
    workers = [another(url, replace(alone, shared=True), name) for name in ("first", "second")]
    for worker in workers:
        await worker.open()
        assert (await worker.retention.stats()).sessions == 0
        await worker.close()
    with pytest.raises(StoreError, match=f"is in use by process {os.getpid()}"):
        await another(url, alone).open()
    for handle in kept:
        os.close(handle)
    await supervisor.open()
    await supervisor.close()


async def test_a_tool_may_use_the_file_beside_the_instance(tmp_path: Path) -> None:
    url, settings = f"sqlite:///{tmp_path}/chat.db", StoreSettings(service="test")
    instance, tool = another(url, settings), another(url, settings, instance="")
    await instance.open()
    await tool.open()
    assert (await tool.retention.stats()).sessions == 0
    await tool.close()
    await instance.close()


@pytest.mark.parametrize("database", ["mysql", "postgresql"])
async def test_instances_share_the_other_databases(store: SqlStore, store_url: str, settings: StoreSettings) -> None:
    second = another(store_url, settings)
    await second.open()
    assert (await second.retention.stats()).sessions == 0
    await second.close()
