import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.knowledge import milvusserver
from tests.modelserver.server import ModelServer

from penstock.connections import MilvusConnection
from penstock_server.flows.connections.connections import Connections, load
from penstock_server.flows.knowledge.build import Build, Wanted
from penstock_server.flows.knowledge.indexing import Outcome
from penstock_server.flows.knowledge.knowledge import Knowledge
from penstock_server.flows.knowledge.manifest import Shelf
from penstock_server.flows.knowledge.store import Filters, Query
from penstock_server.flows.models.models import Models
from penstock_server.flows.threads import Threads


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer().serving() as running:
        yield running


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusConnection]:
    port = milvusserver.free_port()
    with milvusserver.serving(tmp_path_factory.mktemp("milvus"), port):
        yield MilvusConnection(name="milvus", uri=f"http://127.0.0.1:{port}")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "data")


@pytest.fixture
def connections(tmp_path: Path, server: ModelServer) -> Connections:
    file = tmp_path / "own.yaml"
    file.write_text(f"open: {{type: open_ai, base_url: '{server.url}'}}\nmail: {{type: custom, configs: {{a: b}}}}\n")
    return load(explicit=str(file))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Mapping[str, str | bytes]], Path]:
    """Writes documents, by their paths, into the folder `docs`."""

    def write_files(files: Mapping[str, str | bytes]) -> Path:
        for path, content in files.items():
            file = tmp_path / "docs" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "docs"

    return write_files


@pytest.fixture
def build(shelf: Shelf, connections: Connections, tmp_path: Path) -> Callable[..., Awaitable[Outcome]]:
    """Builds the knowledge base `shop` of the folder `docs`."""

    async def run(name: str = "shop", **wanted: object) -> Outcome:
        models = Models(silence_timeout_s=30)
        try:
            work = Build(shelf, connections, models, lambda done, files: None)
            return await work.run(name, tmp_path / "docs", Wanted(**wanted))
        finally:
            await models.close()

    return run


@pytest.fixture
def search(tmp_path: Path, connections: Connections) -> Callable[..., Awaitable[list[str]]]:
    """The sources and lines that a search of `shop` finds."""

    async def run(text: str, top_k: int = 5, **filters: tuple[str, ...]) -> list[str]:
        models, threads = Models(silence_timeout_s=30), Threads(1).share("test")
        knowledge = Knowledge(tmp_path / "data", connections, models, threads)
        try:
            hits = await knowledge.of("shop").search(Query(text=text, top_k=top_k, filters=Filters(**filters)))
        finally:
            await threads.close("test", 1)
            await asyncio.to_thread(knowledge.close)
            await models.close()
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        return [f"{hit.chunk.source}:{hit.chunk.line}" for hit in hits]

    return run
