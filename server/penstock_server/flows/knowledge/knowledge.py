"""The knowledge bases that flows search."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from penstock_server.errors import Failure
from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.knowledge import stores
from penstock_server.flows.knowledge.embedder import Embedder
from penstock_server.flows.knowledge.manifest import Manifest, Shelf
from penstock_server.flows.knowledge.store import Hit, Place, Query, Store
from penstock_server.flows.models.models import Models
from penstock_server.flows.problems import ProblemFound
from penstock_server.flows.threads import CodeRaised, Threads


class KnowledgeBase:
    """Finds chunks of one knowledge base.

    Its index is opened by the first search, and anew by the first one after a failure: clients of servers do not always
    find back to one that was started again.
    """

    def __init__(self, open_store: Callable[[], Store], embedder: Embedder | None, threads: Threads) -> None:
        self._open_store = open_store
        self._embedder = embedder
        self._threads = threads
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    async def search(self, query: Query) -> list[Hit]:
        """The chunks that fit best, the best first; none for a query without text.

        Args:
            query: without a vector; the model makes it.

        Cancelling the task ends the request to the model at once, and waits for no index.

        Raises:
            UpstreamUnavailable, ModelRefused: the model or the index does not do it.
        """
        if not query.text.strip():
            return []
        if self._embedder is not None:
            vector = await self._embedder.vector(query.text)
            query = Query(text=query.text, vector=vector, top_k=query.top_k, filters=query.filters)
        try:
            return await self._threads.call(partial(self._searched, query))
        except CodeRaised as raised:
            raise raised.error from None

    def close(self) -> None:
        """Lets go of the index once no search uses it any more; blocks."""
        with self._lock:
            opened, self._opened = self._opened, None
            is_idle = opened is not None and not opened.searches
        if opened is not None and is_idle:
            opened.store.close()

    def _searched(self, query: Query) -> list[Hit]:
        opened = self._entered()
        try:
            return opened.store.search(query)
        except Failure:
            with self._lock:
                if self._opened is opened:
                    self._opened = None
            raise
        finally:
            self._left(opened)

    def _entered(self) -> "_Opened":
        with self._lock:
            if self._opened is None:
                self._opened = _Opened(self._open_store())
            self._opened.searches += 1
            return self._opened

    def _left(self, opened: "_Opened") -> None:
        with self._lock:
            opened.searches -= 1
            is_last = opened is not self._opened and not opened.searches
        if is_last:
            opened.store.close()


@dataclass(slots=True)
class _Opened:
    store: Store
    searches: int = 0
    """How many threads search it now."""


class Knowledge:
    """The knowledge bases of a data folder, for one user of them; one of each name.

    Args:
        data: the data folder.
        connections: where the connections are found that manifests name.
        models: the models behind them.
        threads: where the indexes, which block, are searched.
    """

    def __init__(self, data: Path, connections: Connections, models: Models, threads: Threads) -> None:
        self._shelf = Shelf(data)
        self._connections = connections
        self._models = models
        self._threads = threads
        self._bases: dict[str, KnowledgeBase] = {}

    def of(self, name: str) -> KnowledgeBase:
        """The knowledge base of this name. What it needs is imported here, and nothing is opened.

        Raises:
            ProblemFound: there is none, or it lacks a connection or a package.
        """
        base = self._bases.get(name)
        if base is None:
            base = self._bases[name] = self._made(self._shelf.read(name))
        return base

    def close(self) -> None:
        """Lets go of all indexes; blocks."""
        while self._bases:
            self._bases.popitem()[1].close()

    def _made(self, manifest: Manifest) -> KnowledgeBase:
        try:
            open_store = partial(stores.of(manifest.store), self._place(manifest))
            embedder = self._embedder(manifest) if manifest.connection else None
        except ProblemFound as error:
            raise ProblemFound(f"knowledge base `{manifest.name}`: {error.text}", hint=error.hint) from None
        return KnowledgeBase(open_store, embedder, self._threads)

    def _place(self, manifest: Manifest) -> Place:
        return place(manifest, self._shelf, self._connections)

    def _embedder(self, manifest: Manifest) -> Embedder:
        model = self._models.of(self._connections.get(manifest.connection))
        return Embedder(model, manifest, asked_dimensions=manifest.asked_dimensions)


def place(manifest: Manifest, shelf: Shelf, connections: Connections) -> Place:
    """Where the index of a knowledge base is.

    Raises:
        ProblemFound: its connection is not there, or leads to no such store.
    """
    connection = connections.get(manifest.store_connection) if manifest.store_connection else None
    if connection is not None and connection.type != manifest.store:
        raise ProblemFound(
            f"connection `{connection.name}` is of the type `{connection.type}`, which leads to no store of vectors",
            hint=f"the type is {stores.VECTORS}",
        )
    return Place(
        name=manifest.name,
        folder=shelf.folder(manifest.name),
        collection=manifest.collection,
        dimensions=manifest.dimensions,
        connection=connection,
    )
