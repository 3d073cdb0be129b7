"""The tables that migrations make, on all three databases."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, insert, inspect, text
from tests.databases import DatabaseServer

from penstock_server.config import ServerConfig
from penstock_server.runs.events import OnDisconnect, RunStatus
from penstock_server.store.errors import StoreError
from penstock_server.store.sql import migrations
from penstock_server.store.sql.databases.url import parse
from penstock_server.store.sql.schema import SERVICE_CHARS_MAX, Tables
from penstock_server.store.sql.store import SqlStore, StoreSettings, database_of

INDEX_NAMES_CHARS_MAX = 63
"""PostgreSQL cuts longer ones."""


async def opened(url: str, settings: StoreSettings) -> SqlStore:
    store = SqlStore(parse(url), settings)
    await store.open()
    return store


async def test_migrations_make_the_tables_of_the_schema(store: SqlStore) -> None:
    def differences(connection: Connection) -> list[object]:
        def include(name: str, kind: str, *_: object) -> bool:
            return kind != "table" or name in store.tables.metadata.tables

        options = {"include_object": lambda item, name, *rest: include(name, *rest), "compare_type": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), store.tables.metadata))

    assert await store.database.read(differences) == []


async def test_migrations_make_the_keys_of_the_schema(store: SqlStore) -> None:
    """What Alembic does not compare: primary keys, and on which rows a partial index is."""

    def compare(connection: Connection) -> None:
        inspector = inspect(connection)
        partial = {"sqlite": "sqlite_where", "postgresql": "postgresql_where"}.get(store.database.dialect.name, "")
        for name, table in store.tables.metadata.tables.items():
            key = inspector.get_pk_constraint(name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key.columns]
            made = {
                index["name"]: {option for option in index.get("dialect_options", {}) if option == partial}
                for index in inspector.get_indexes(name)
                if "duplicates_constraint" not in index
            }
            for index in table.indexes:
                where = index.dialect_kwargs.get(partial)
                assert made[index.name] == ({partial} if partial and where is not None else set()), index.name

    await store.database.read(compare)


async def test_the_newest_revision_is_the_one_that_is_asked_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]
    assert list(migrations.known())[-1] == migrations.HEAD


async def test_services_share_a_database_without_touching_each_other(empty_url: str, settings: StoreSettings) -> None:
    """Each name would be that of another's index or hidden table, if those were not named with care."""
    services = ["a", "a_turn", "a_pkey", "a_data", "a-b", "a_fts", "x" * SERVICE_CHARS_MAX]
    stores = [await opened(empty_url, replace(settings, service=service)) for service in services]
    for store in stores:
        dialect, search = store.database.dialect, store.tables.search
        await store.database.write(lambda each, to=search, by=dialect: by.index_words(each, to, [(1, f"xone {to}")]))
    for store in stores:
        assert (await store.retention.stats()).sessions == 0
        await store.close()


def test_the_longest_service_name_leaves_no_name_to_be_cut() -> None:
    service = "x" * SERVICE_CHARS_MAX
    ServerConfig(service=service)
    with pytest.raises(ValueError, match="service"):
        ServerConfig(service=service + "x")
    tables = Tables(service).metadata.tables.values()
    names = [index.name for table in tables for index in (*table.indexes, *table.constraints)]
    assert max(len(str(name)) for name in names) <= INDEX_NAMES_CHARS_MAX


async def test_stores_that_open_at_once_migrate_once(empty_url: str, settings: StoreSettings) -> None:
    stores = await asyncio.gather(*(opened(empty_url, settings) for _ in range(4)))
    for store in stores:
        assert (await store.retention.stats()).sessions == 0
        await store.close()


async def test_a_migration_that_was_broken_off_is_made_again(
    empty_url: str, settings: StoreSettings, server: DatabaseServer | None
) -> None:
    """MySQL keeps what was made; the others take it back."""
    store = await opened(empty_url, settings)
    if server is not None and server.kind == "mysql":
        tables = store.tables
        undone = [
            text(f"DROP TABLE `{tables.search}`"),
            text(f"DROP TABLE `{tables.runs.name}`"),
            text(f"ALTER TABLE `{tables.sessions.name}` DROP INDEX `penstock_ix_session_test_time`"),
            text(f"DELETE FROM `{tables.revision}`"),
        ]
        await store.database.write(lambda connection: [connection.execute(each) for each in undone])
    else:

        def broken(connection: Connection) -> None:
            Tables("other").metadata.create_all(connection)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store.database.alone("other", broken)
        settings = replace(settings, service="other")
    await store.close()
    again = await opened(empty_url, settings)
    await test_migrations_make_the_tables_of_the_schema(again)
    await test_migrations_make_the_keys_of_the_schema(again)
    assert (await again.retention.stats()).runs == 0
    await again.close()


async def test_what_an_older_penstock_has_stored_is_kept_and_its_live_runs_are_taken_over(
    empty_url: str, settings: StoreSettings
) -> None:
    ended, live = _old_run(1 << 20, "ended", 3), _old_run(2 << 20, "live", 2)
    database = database_of(parse(empty_url), settings, instance=False)
    await database.open()
    tables = Tables(settings.service)

    def first(connection: Connection) -> None:
        config = migrations._config()
        config.attributes.update(connection=connection, tables=tables, dialect=database.dialect)
        command.upgrade(config, "0001")
        runs = Table(tables.runs.name, MetaData(), autoload_with=connection)
        connection.execute(insert(runs), [ended, live])

    await database.alone("old", first)
    await database.close()
    store = SqlStore(parse(empty_url), settings, instance="new")
    await store.open()
    await test_migrations_make_the_tables_of_the_schema(store)
    await test_migrations_make_the_keys_of_the_schema(store)
    record = await store.runs.get("ended")
    assert record is not None
    assert (record.status, record.inputs, record.outputs) == (RunStatus.SUCCEEDED, {"x": 1}, {"y": 2})
    page = await store.runs.log("ended", 0)
    assert page is not None
    assert page.end is not None
    assert (page.events, page.end.status, page.end.sequence, page.end.lost_after) == ((), record.status, 1, None)
    assert await store.leases.beats() == {"old": 0}
    [orphan] = await store.leases.adopt("old", 0)
    assert (orphan.record.run, orphan.sequence_reserved, orphan.on_disconnect) == ("live", 0, OnDisconnect.CANCEL)
    await store.close()


def _old_run(key: int, run: str, status: int) -> dict[str, object]:
    texts = dict.fromkeys(("snapshot", "session", "user", "principal"), b"")
    numbers = dict.fromkeys(("session_key", "turn", "input_tokens", "output_tokens"), 0)
    end = {"outputs": '{"y": 2}', "end_time_us": 2} if status == RunStatus.SUCCEEDED.value else {}
    return {
        "outputs": None,
        "end_time_us": None,
        **texts,
        **numbers,
        "run_key": key,
        "run": run.encode(),
        "attempt": 1,
        "status": status,
        "instance": b"old",
        "flow": b"f",
        "inputs": '{"x": 1}',
        "create_time_us": 1,
        "start_time_us": 1,
        **end,
    }


async def test_without_migrations_missing_tables_are_an_error_that_says_what_to_do(
    empty_url: str, settings: StoreSettings, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/chat_history.db").touch()
    with pytest.raises(
        StoreError, match=f"are missing, and revision {migrations.HEAD} is needed: run `penstock db upgrade`"
    ):
        await opened(empty_url, replace(settings, migrate=False))


async def test_tables_of_a_newer_penstock_are_left_alone(store: SqlStore, store_url: str) -> None:
    newer = text(f"UPDATE {quoted(store, store.tables.revision)} SET version_num = :it")
    await store.database.write(lambda connection: connection.execute(newer, {"it": "9999"}))
    try:
        for migrate in (True, False):
            with pytest.raises(StoreError, match="of revision 9999, which this Penstock does not know"):
                await opened(store_url, StoreSettings(service="test", migrate=migrate))
    finally:
        await store.database.write(lambda connection: connection.execute(newer, {"it": migrations.HEAD}))


def quoted(store: SqlStore, name: str) -> str:
    quote = "`" if store.database.dialect.name == "mysql" else '"'
    return f"{quote}{name}{quote}"


@pytest.mark.parametrize("database", ["mysql", "postgresql"])
async def test_a_user_who_may_make_no_tables_is_told(
    server: DatabaseServer, empty_url: str, settings: StoreSettings
) -> None:
    name = empty_url.rpartition("/")[2]
    statements = {
        "mysql": [
            "CREATE OR REPLACE USER reader@'%' IDENTIFIED BY 'x'",
            f"GRANT SELECT ON `{name}`.* TO reader@'%'",
        ],
        "postgresql": ["DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN PASSWORD 'x'"],
    }
    server.execute(*statements[server.kind])
    with pytest.raises(StoreError, match="the user has not all rights"):
        await opened(server.url(name, user="reader", password="x"), settings)


def test_a_start_that_finds_its_tables_does_without_alembic(store_url: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from penstock_server.store.sql.store import SqlStore, StoreSettings, database_of\n"
        "from penstock_server.store.sql.databases.url import parse\n"
        "async def main():\n"
        "    store = SqlStore(parse(sys.argv[1]), StoreSettings(service='test'), instance='one')\n"
        "    await store.open()\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'alembic'])"
    )
    result = subprocess.run([sys.executable, "-c", code, store_url], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")
