"""Chunks that are found by their words, with SQLite's full-text search (FTS5, BM25)."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from penstock_server import words
from penstock_server.errors import UpstreamUnavailable
from penstock_server.flows.knowledge.chunks import Chunk
from penstock_server.flows.knowledge.store import Filters, Hit, Place, Query, Vector

FILE = "words.db"
QUERY_WORDS_MAX = 64
"""How many words of a query count: its first ones."""
BUSY_TIMEOUT_S = 30.0
"""How long to wait for another process that writes."""
TITLE_WEIGHT = 3.0
"""How much more a word counts in a title than in the text."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (
  id INTEGER PRIMARY KEY, source TEXT, number INTEGER, line INTEGER, title TEXT, text TEXT
);
CREATE INDEX IF NOT EXISTS chunk_source ON chunk (source);
CREATE VIRTUAL TABLE IF NOT EXISTS word USING fts5 (title, text, tokenize = 'porter unicode61');
"""


class KeywordStore:
    """See `Store`. Searches go on while a build writes."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._file = place.folder / FILE
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)

    def insert(self, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        """See `Store.insert`."""
        with self._connection() as connection, connection:
            for each in chunks:
                row = connection.execute(
                    "INSERT INTO chunk (source, number, line, title, text) VALUES (?, ?, ?, ?, ?)",
                    (each.source, each.number, each.line, each.title, each.text),
                ).lastrowid
                terms = (row, " ".join(words.indexed(each.title)), " ".join(words.indexed(each.text)))
                connection.execute("INSERT INTO word (rowid, title, text) VALUES (?, ?, ?)", terms)

    def delete(self, sources: Sequence[str]) -> None:
        """See `Store.delete`."""
        with self._connection() as connection, connection:
            for source in sources:
                connection.execute("DELETE FROM word WHERE rowid IN (SELECT id FROM chunk WHERE source = ?)", (source,))
                connection.execute("DELETE FROM chunk WHERE source = ?", (source,))

    def search(self, query: Query) -> list[Hit]:
        """See `Store.search`. A chunk need not hold every word; those that hold rarer ones come first."""
        looked_for = words.looked_for(query.text)[:QUERY_WORDS_MAX]
        if not looked_for:
            return []
        condition, values = _condition(query.filters)
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT -bm25(word, ?, 1.0) AS score, source, number, line, chunk.title, chunk.text"  # noqa: S608
                f" FROM word JOIN chunk ON chunk.id = word.rowid WHERE word MATCH ?{condition}"
                " ORDER BY score DESC, chunk.id LIMIT ?",
                (TITLE_WEIGHT, " OR ".join(f'"{word}"' for word in looked_for), *values, query.top_k),
            ).fetchall()
        return [Hit(score=score, chunk=_chunk(*row)) for score, *row in rows]

    def count(self) -> int:
        """See `Store.count`."""
        with self._connection() as connection:
            return int(connection.execute("SELECT count(*) FROM chunk").fetchone()[0])

    def drop(self) -> None:
        """See `Store.drop`."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self._file.with_name(FILE + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """See `Store.close`."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that no other thread has meanwhile."""
        try:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            connection = connection or sqlite3.connect(self._file, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
            try:
                yield connection
            finally:
                with self._lock:
                    self._idle.append(connection)
        except sqlite3.Error as error:
            text = f"the index of the knowledge base `{self._place.name}` cannot be used: {error}"
            raise UpstreamUnavailable(text, metadata={"knowledge": self._place.name}) from None


def _chunk(source: str, number: int, line: int, title: str, text: str) -> Chunk:
    return Chunk(source=source, number=number, line=line, title=title, text=text)


def _condition(filters: Filters) -> tuple[str, list[str]]:
    """What is asked of a chunk beside its words, as SQL with its values."""
    sources = ["source = ?"] * len(filters.files) + ["(source >= ? AND source < ?)"] * len(filters.folders)
    titles = ["chunk.title = ?"] * len(filters.title)
    asked = "".join(f" AND ({' OR '.join(any_of)})" for any_of in (sources, titles) if any_of)
    return asked, [*filters.files, *(end for each in filters.folders for end in each), *filters.title]
