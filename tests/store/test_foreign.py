"""Tables of other systems are read as they are, session by session."""

import pytest
from sqlalchemy import text

from penstock_server.store.errors import StoreError
from penstock_server.store.sql.imports.foreign import ForeignTable
from penstock_server.store.sql.store import SqlStore


@pytest.fixture
async def foreign(store: SqlStore, store_url: str) -> str:
    """The address of a database with somebody else's table."""
    binary = {"sqlite": "COLLATE NOCASE"}.get(store.database.dialect.name, "")
    rows = [(3, "a", 2), (1, "B", 1), (2, "b", 1), (5, "B", 3), (4, "a", 1), (6, "b", 3)]

    def make(connection: object) -> None:
        execute = connection.execute  # type: ignore[attr-defined]
        execute(text("DROP TABLE IF EXISTS chats"))
        execute(text(f"CREATE TABLE chats (id INTEGER, conversation VARCHAR(20) {binary}, said_at INTEGER, note TEXT)"))
        for number, conversation, said_at in rows:
            execute(text(f"INSERT INTO chats VALUES ({number}, '{conversation}', {said_at}, NULL)"))

    await store.database.write(make)
    return store_url


def table(
    source: str, name: str = "chats", columns: tuple[str, ...] = ("id", "conversation", "said_at", "note")
) -> ForeignTable:
    return ForeignTable(source, name, columns, session="conversation", order=["said_at", "id"])


async def test_rows_of_a_session_come_together_where_case_counts_for_nothing(
    foreign: str,
) -> None:
    rows = [(row["conversation"], row["id"], row["note"]) async for row in table(foreign).rows()]
    assert rows == [("B", 1, None), ("B", 5, None), ("a", 4, None), ("a", 3, None), ("b", 2, None), ("b", 6, None)]


async def test_a_column_that_is_missing_is_named(foreign: str) -> None:
    with pytest.raises(StoreError, match="has no column 'text'; it has id, conversation, said_at, note"):
        await anext(table(foreign, columns=("conversation", "text")).rows())


async def test_a_table_that_is_missing_is_named(foreign: str) -> None:
    with pytest.raises(StoreError, match=r"has no table .?chat"):
        await anext(table(foreign, "chat").rows())


async def test_a_source_that_cannot_be_reached_is_named_without_its_password() -> None:
    for source in ("postgresql://me:secret@127.0.0.1:1/x", "mysql://me:secret@127.0.0.1:1/x"):
        with pytest.raises(StoreError, match="cannot be read") as raised:
            await anext(table(source).rows())
        assert "secret" not in str(raised.value)


async def test_a_file_that_is_missing_is_not_made(tmp_path: object) -> None:
    with pytest.raises(StoreError, match="there is no file"):
        await anext(table(f"{tmp_path}/none.db").rows())
