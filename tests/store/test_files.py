"""SQLite's files, and the disks that they are on."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.store.numbers import PATIENCE_S, adding, count, fails, numbers, opened
from tests.store.records import take_turn

from penstock_server.store.errors import StoreError
from penstock_server.store.records import Scope, SearchFilter
from penstock_server.store.sql.databases.url import parse
from penstock_server.store.sql.store import SqlStore, StoreSettings


async def test_a_full_disk_fails_writes_alone_and_heals_by_itself(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/chat.db") as db:
        await db.alone("numbers", numbers.create)
        await db.write(lambda each: each.exec_driver_sql("CREATE TABLE filler (data BLOB)"))
        await db.write(lambda each: each.exec_driver_sql("INSERT INTO filler VALUES (zeroblob(1000000))"))
        fill = "INSERT INTO filler VALUES (zeroblob(100000))"
        limit = "PRAGMA max_page_count = 260"
        await db.write(lambda each: each.exec_driver_sql(limit))
        with limited(db, limit):
            for _ in range(3):
                failure, _ = await fails(db.write(lambda each: each.exec_driver_sql(fill)))
                assert "its disk is full" in failure.message
                assert await db.read(count) == 0
        await db.write(lambda each: each.exec_driver_sql(fill))


async def test_another_process_that_writes_for_too_long_fails_the_write(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/chat.db", store_timeout_s=0.1) as db:
        await db.alone("numbers", numbers.create)
        with contextlib.closing(sqlite3.connect(tmp_path / "chat.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            failure, took_s = await fails(db.write(adding(1)))
            assert "another process is writing to it" in failure.message
            assert took_s < PATIENCE_S
            assert await db.read(count) == 0
            other.execute("ROLLBACK")
        await db.write(adding(1))


async def test_a_write_finds_the_moment_between_those_of_a_process_that_keeps_writing(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with opened(f"sqlite:///{path}") as db:
        await db.alone("numbers", numbers.create)
        with writing_without_pause(path):
            for number in range(30):
                await db.write(adding(number))
                await asyncio.sleep(0.05)  # or we would be the busy ones
        assert await db.read(count) == 30


@contextlib.contextmanager
def writing_without_pause(path: Path) -> Iterator[None]:
    """Another process, which has the file for ten milliseconds of every eleven."""
    code = (
        "import sqlite3, sys, time\n"
        "other = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\n"
        "while True:\n"
        "    other.execute('BEGIN IMMEDIATE')\n"
        "    print(flush=True)\n"
        "    time.sleep(0.01)\n"
        "    other.execute('ROLLBACK')\n"
        "    again = time.perf_counter() + 0.001\n"
        "    while time.perf_counter() < again: pass\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        threading.Thread(target=process.stdout.read, daemon=True).start()  # so that it never waits for us
        try:
            yield
        finally:
            process.kill()


async def test_a_file_that_is_damaged_fails_what_meets_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with opened(f"sqlite:///{path}") as db:
        await db.alone("numbers", numbers.create)
        await db.write(adding(*range(5000)))
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 8 * 4096)
    async with opened(f"sqlite:///{path}") as db:
        failure, _ = await fails(db.read(count))
        assert "its file is damaged" in failure.message


async def test_work_that_waits_and_is_cancelled_is_not_begun(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/chat.db") as db:
        await db.alone("numbers", numbers.create)
        go_on = threading.Event()
        first = asyncio.ensure_future(db.write(lambda _: go_on.wait(PATIENCE_S)))
        second = asyncio.ensure_future(db.write(adding(1)))
        await asyncio.sleep(0)
        second.cancel()
        go_on.set()
        await first
        assert await db.read(count) == 0


async def test_reads_go_on_while_another_writes(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/chat.db") as db:
        await db.alone("numbers", numbers.create)
        go_on = threading.Event()

        def slowly(connection: Connection) -> None:
            adding(1)(connection)
            go_on.wait(PATIENCE_S)

        writing = asyncio.ensure_future(db.write(slowly))
        assert await db.read(count) == 0
        go_on.set()
        await writing
        assert await db.read(count) == 1


async def test_readers_cannot_write(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/chat.db") as db:
        await db.alone("numbers", numbers.create)
        await fails(db.read(adding(1)))


async def test_commits_are_flushed_to_the_disk(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/chat.db") as db:
        asked = "SELECT * FROM pragma_journal_mode, pragma_synchronous"
        for execute in (db.read, db.write):
            assert await execute(lambda each: tuple(each.exec_driver_sql(asked).one())) == ("wal", 2)


async def test_nobody_else_may_read_what_users_say(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/data/chat.db") as db:
        await db.alone("numbers", numbers.create)
        modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "data").iterdir()}
        assert modes == {"chat.db": 0, "chat.db-wal": 0, "chat.db-shm": 0}


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("folder", "is a folder; name a file in it: sqlite:///.*/folder/NAME.db"),
        ("text", "its file is no SQLite database"),
        ("text/chat.db", "cannot be opened: (Not a directory|File exists)"),
        ("long" * 100, "cannot be opened: File name too long"),
    ],
)
async def test_a_place_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("Dear diary, " * 1000)
    with pytest.raises(StoreError, match=said):
        await opened(f"sqlite:///{tmp_path / place}").__aenter__()
    assert (tmp_path / "text").read_text() == "Dear diary, " * 1000


def test_without_the_right_to_write_the_file_it_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own let nobody else in
        path = Path(folder, "chat.db")
        sqlite3.connect(path).close()
        path.touch()
        path.chmod(0o444)
        Path(folder).chmod(0o755)
        code = (
            "import asyncio, os, sys\n"
            "from penstock_server.store.sql.store import SqlStore, StoreSettings\n"
            "from penstock_server.store.sql.databases.url import parse\n"
            "os.getuid() or os.setuid(65534)\n"  # root may write everything
            "try: asyncio.run(SqlStore(parse(sys.argv[1]), StoreSettings(service='test'), instance='it').open())\n"
            "except Exception as error: print(type(error).__name__, error)"
        )
        result = subprocess.run([sys.executable, "-c", code, f"sqlite:///{path}"], capture_output=True, text=True)
    assert result.stdout.startswith("StoreError"), result.stderr
    assert "Permission denied" in result.stdout


@contextlib.contextmanager
def limited(database: Any, limit: str) -> Iterator[None]:
    """Within the block, each new connection has a limit."""
    connect = database._connect

    def connect_limited(**options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(**options)
        connection.execute(limit)
        return connection

    database._connect = connect_limited
    yield
    database._connect = connect


class TestErased:
    """What an erased user has said is in no file any more."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqlStore]:
        store = SqlStore(parse(f"sqlite:///{tmp_path}/chat.db"), StoreSettings(service="test"), instance="i")
        await store.open()
        yield store
        await store.close()

    async def test_while_the_service_goes_on(self, store: SqlStore, tmp_path: Path) -> None:
        await self.converse(store)
        assert found(tmp_path)
        await store.sessions.erase_user("alice")
        assert found(tmp_path) == []
        assert await self.bobs(store) == 30

    async def test_while_others_read_and_talk(self, store: SqlStore, tmp_path: Path) -> None:
        await self.converse(store)
        over = asyncio.Event()

        async def talk() -> None:
            while not over.is_set():
                await take_turn(store, "something else", "entirely", user="bob")
                await self.bobs(store)

        talking = [asyncio.create_task(talk()) for _ in range(4)]
        await store.sessions.erase_user("alice")
        over.set()
        await asyncio.gather(*talking)
        assert found(tmp_path) == []

    async def test_when_it_has_stopped(self, tmp_path: Path) -> None:
        store = SqlStore(parse(f"sqlite:///{tmp_path}/chat.db"), StoreSettings(service="test"), instance="i")
        await store.open()
        await self.converse(store)
        await store.sessions.erase_user("alice")
        await store.close()
        assert not (tmp_path / "chat.db-wal").exists()
        assert found(tmp_path) == []

    async def converse(self, store: SqlStore) -> None:
        """Sessions of two users, in many transactions, and so in many pieces of the index."""
        for number in range(30):
            secrets = (f"{SECRET}question{number}", f"{SECRET}answer{number}")
            await take_turn(store, *secrets, user="alice", session=f"{SECRET}{number % 3}", session_is_new=False)
            await take_turn(store, f"weather {number}", "fine", user="bob", flow="other")

    async def bobs(self, store: SqlStore) -> int:
        asked = SearchFilter(scope=Scope(user="bob"), query="weather")
        return len((await store.messages.search(asked, None, 100)).items)


SECRET = "liverwurst"


def found(folder: Path) -> list[str]:
    """The files of a store that hold the secret."""
    return [each.name for each in sorted(folder.glob("chat.db*")) if SECRET.encode() in each.read_bytes().lower()]
