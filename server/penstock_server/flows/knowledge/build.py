"""Builds a knowledge base of a folder, and brings it up to date."""

import asyncio
import fcntl
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.knowledge import documents, stores
from penstock_server.flows.knowledge.documents import Skipped
from penstock_server.flows.knowledge.embedder import Embedder
from penstock_server.flows.knowledge.indexing import Indexing, Outcome, Progress
from penstock_server.flows.knowledge.knowledge import place
from penstock_server.flows.knowledge.manifest import FILE, Manifest, Shelf
from penstock_server.flows.knowledge.splitting import Splitting
from penstock_server.flows.models.models import Models
from penstock_server.flows.problems import ProblemFound

LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How a knowledge base is to be; None for as it is, or by default."""

    connection: str | None = None
    """The connection to the embedding model."""
    model: str | None = None
    dimensions: int | None = None
    """How many numbers the model is asked for."""
    store: str | None = None
    """The connection to the server of the index."""
    splitting: Splitting | None = None


class Build:
    """One build.

    Args:
        shelf: where knowledge bases lie.
        connections: where the connections are found.
        models: the models behind them.
        progress: is told of every batch.
    """

    def __init__(self, shelf: Shelf, connections: Connections, models: Models, progress: Progress) -> None:
        self._shelf = shelf
        self._connections = connections
        self._models = models
        self._progress = progress

    async def run(self, name: str, folder: Path, wanted: Wanted) -> Outcome:
        """Takes in what is new in a folder, and removes what is gone from it.

        What is done is kept when it fails or is broken off; repeating it goes on from there.

        Raises:
            ProblemFound: it cannot be built so; nothing was changed.
            UpstreamUnavailable, ModelRefused: the model or the index does not do it.
        """
        with _locked(self._shelf.folder(name)):
            manifest = self._manifest(name, folder, wanted)
            skipped: list[Skipped] = []
            sources = await asyncio.to_thread(lambda: list(documents.walk(folder, skipped)))
            if not sources and not skipped:
                raise ProblemFound(f"{folder} holds no documents", hint=f"they end in {', '.join(documents.KINDS)}")
            embedder = self._embedder(manifest)
            if embedder is not None and name not in self._shelf.names:
                manifest = replace(manifest, dimensions=len(await embedder.vector(name)))
                embedder = self._embedder(manifest)
            opened = partial(stores.of(manifest.store), place(manifest, self._shelf, self._connections))
            store = await asyncio.to_thread(opened)
            try:
                indexing = Indexing(self._shelf, manifest, folder, store, embedder, skipped)
                return await indexing.run(sources, self._progress)
            finally:
                await asyncio.to_thread(store.close)

    def _manifest(self, name: str, folder: Path, wanted: Wanted) -> Manifest:
        if not folder.is_dir():
            raise ProblemFound(f"there is no folder {folder}")
        if name not in self._shelf.names:
            _clear(self._shelf.folder(name))
            return _new(name, folder, wanted)
        manifest = self._shelf.read(name)
        _check_same(manifest, wanted)
        return replace(manifest, folder=str(folder), splitting=wanted.splitting or manifest.splitting)

    def _embedder(self, manifest: Manifest) -> Embedder | None:
        if not manifest.connection:
            return None
        model = self._models.of(self._connections.get(manifest.connection))
        return Embedder(model, manifest, asked_dimensions=manifest.asked_dimensions)


def drop(name: str, shelf: Shelf, connections: Connections) -> None:
    """Removes a knowledge base with its index; blocks.

    Raises:
        ProblemFound: there is none, or somebody builds it.
        UpstreamUnavailable: the index does not do it.
    """
    manifest = shelf.read(name)
    folder = shelf.folder(name)
    with _locked(folder):
        store = stores.of(manifest.store)(place(manifest, shelf, connections))
        try:
            store.drop()
        finally:
            store.close()
        _clear(folder)
    shutil.rmtree(folder)


def _new(name: str, folder: Path, wanted: Wanted) -> Manifest:
    if bool(wanted.connection) != bool(wanted.model):
        raise ProblemFound("an embedding model has a connection and a name", hint="give --connection and --model")
    if (wanted.store or wanted.dimensions) and not wanted.connection:
        raise ProblemFound("vectors need an embedding model", hint="give --connection and --model, too")
    kind = stores.VECTORS if wanted.connection else stores.KEYWORDS
    return Manifest(
        name=name,
        folder=str(folder),
        store=kind,
        store_connection=wanted.store or "",
        collection=f"penstock_{name.replace('-', '_')}_{secrets.token_hex(4)}",
        connection=wanted.connection or "",
        model=wanted.model or "",
        asked_dimensions=wanted.dimensions or 0,
        dimensions=wanted.dimensions or 0,
        splitting=wanted.splitting or Splitting(),
    )


def _check_same(manifest: Manifest, wanted: Wanted) -> None:
    """Refuses what an index cannot become: vectors of different models have nothing to do with each other."""
    pairs = {
        "embedding connection": (wanted.connection, manifest.connection),
        "model": (wanted.model, manifest.model),
        "dimensions": (wanted.dimensions, manifest.dimensions),
        "store connection": (wanted.store, manifest.store_connection),
    }
    for what, (wish, known) in pairs.items():
        if wish is not None and wish != known:
            built = f"with the {what} `{known}`" if known else f"with no {what}"
            raise ProblemFound(
                f"the knowledge base `{manifest.name}` was built {built}, not with `{wish}`",
                hint=f"build one of another name, or penstock knowledge drop {manifest.name} first",
            )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other builds away; the lock ends with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = f"another build of the knowledge base `{folder.name}` is at work"
            raise ProblemFound(text, hint="wait for its end") from None
        yield


def _clear(folder: Path) -> None:
    """Removes what is in a folder; the manifest first, for without it there is no knowledge base."""
    (folder / FILE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
