"""Tables of other systems are read as they are."""

import gc
import sqlite3
import warnings
from contextlib import aclosing
from pathlib import Path

import pytest
from sqlalchemy import text

from penstock_server.store.errors import StoreError
from penstock_server.store.sql.imports.foreign import ForeignTable
from penstock_server.store.sql.store import SqlStore


@pytest.fixture
async def foreign(store: SqlStore, store_url: str) -> str:
    """The address of a database with somebody else's table."""
    rows = [(3, "a", 2), (1, "B", 1), (2, "b", 1), (5, "B", 3), (4, "a", 1), (6, "b", 3)]

    def make(connection: object) -> None:
        execute = connection.execute  # type: ignore[attr-defined]
        execute(text("DROP TABLE IF EXISTS chats"))
        execute(text("CREATE TABLE chats (id INTEGER, conversation VARCHAR(20), said_at INTEGER, note TEXT)"))
        for number, conversation, said_at in rows:
            execute(text(f"INSERT INTO chats VALUES ({number}, '{conversation}', {said_at}, NULL)"))

    await store.database.write(make)
    return store_url


def table(
    source: str, name: str = "chats", columns: tuple[str, ...] = ("id", "conversation", "said_at", "note")
) -> ForeignTable:
    return ForeignTable(source, name, columns)


async def test_every_row_comes_with_the_columns_that_are_read(foreign: str) -> None:
    rows = [(row["conversation"], row["id"], row["note"]) async for row in table(foreign).rows()]
    assert sorted(rows) == [
        ("B", 1, None),
        ("B", 5, None),
        ("a", 3, None),
        ("a", 4, None),
        ("b", 2, None),
        ("b", 6, None),
    ]


async def test_a_table_may_be_left_in_the_middle(
    foreign: str, store: SqlStore, recwarn: pytest.WarningsRecorder
) -> None:
    def fill(connection: object) -> None:
        for number in range(10):  # 6 rows become 6144, more than are fetched at once
            connection.execute(text(f"INSERT INTO chats SELECT id + {number}, conversation, 0, note FROM chats"))  # type: ignore[attr-defined]

    await store.database.write(fill)
    warnings.simplefilter("always")
    async with aclosing(table(foreign).rows()) as rows:
        await anext(rows)
    del rows
    gc.collect()
    assert [str(each.message) for each in recwarn] == []


async def test_text_of_a_file_that_is_not_utf_8_comes_as_bytes(tmp_path: Path) -> None:
    file = sqlite3.connect(tmp_path / "old.db")
    file.execute(
        "CREATE TABLE chats AS SELECT 1 AS id, CAST(x'c3a9' AS TEXT) AS note UNION SELECT 2, CAST(x'e9' AS TEXT)"
    )
    file.commit()
    file.close()
    rows = [row async for row in table(f"{tmp_path}/old.db", columns=("id", "note")).rows()]
    assert rows == [{"id": 1, "note": "é"}, {"id": 2, "note": b"\xe9"}]


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
