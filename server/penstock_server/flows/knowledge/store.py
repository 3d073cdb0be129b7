"""Where chunks are kept and found. Another store is one more file like `milvus.py`, named in `stores.STORES`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from penstock.connections import Connection
from penstock_server.flows.knowledge.chunks import Chunk
from penstock_server.flows.problems import did_you_mean

Vector = Sequence[float]

TOP_K_DEFAULT = 5
TOP_K_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which chunks count; empty for all."""

    source: tuple[str, ...] = ()
    """Files, or folders with a `/` at their end, by their paths; one of them must hold the chunk."""
    title: tuple[str, ...] = ()
    """Titles, whole; one of them must be the chunk's."""

    @classmethod
    def of(cls, value: object) -> "Filters":
        """Filters from JSON: an object of texts, or of lists of texts; what is empty is not given.

        Raises:
            ValueError: it is no such object; the text says what is wrong.
        """
        if value in (None, "", {}):
            return cls()
        if not isinstance(value, Mapping):
            raise ValueError("must be an object, such as {source: guide/}")
        known = ["source", "title"]
        for key in value:
            if key not in known:
                raise ValueError(f"has no `{key}`; {did_you_mean(str(key), known)}")
        return cls(**{key: _texts(key, each) for key, each in value.items()})

    @property
    def files(self) -> tuple[str, ...]:
        """The sources that are files."""
        return tuple(each for each in self.source if not each.endswith("/"))

    @property
    def folders(self) -> tuple[tuple[str, str], ...]:
        """The sources that are folders, as ranges of paths: the first one, and the first one behind."""
        return tuple((each, each[:-1] + "0") for each in self.source if each.endswith("/"))  # "0" follows on "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for."""

    text: str
    vector: Vector = ()
    """Of a store that compares vectors."""
    top_k: int = TOP_K_DEFAULT
    """How many chunks at most."""
    filters: Filters = field(default_factory=Filters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A chunk that was found."""

    chunk: Chunk
    score: float
    """The larger the better. Of vectors: the cosine, from -1 to 1; of words: BM25, from 0 up."""


class Store(Protocol):
    """The chunks of one knowledge base. Its methods block, and may be called in any thread.

    Raises:
        UpstreamUnavailable: it does not answer, or does not do as it should.
    """

    def insert(self, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        """Adds chunks, each with its vector; a store that looks for words has none."""

    def delete(self, sources: Sequence[str]) -> None:
        """Removes all chunks of some files."""

    def search(self, query: Query) -> list[Hit]:
        """The chunks that fit best, the best first."""

    def count(self) -> int:
        """How many chunks there are."""

    def drop(self) -> None:
        """Removes all of it; nothing else may be called any more but `close`."""

    def close(self) -> None:
        """Lets go of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a store is, or will be."""

    name: str
    """The knowledge base, for people."""
    folder: Path
    """The folder of the knowledge base."""
    collection: str = ""
    """What a server calls it: letters, digits and `_`."""
    dimensions: int = 0
    """How many numbers its vectors have; 0 for a store that looks for words."""
    connection: Connection | None = None
    """The server; None for a store that lies in the folder."""


class OpenStore(Protocol):
    """Opens a store, or makes it where there is none yet."""

    def __call__(self, place: Place) -> Store:
        """Raises as `Store` does."""


def _texts(key: str, value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"`{key}` must be a text, or a list of texts")
    return tuple(text for text in texts if text)
