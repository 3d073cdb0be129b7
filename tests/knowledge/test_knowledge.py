"""Knowledge bases while their index comes and goes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.knowledge import milvusserver

from penstock.connections import MilvusConnection
from penstock_server.errors import UpstreamUnavailable
from penstock_server.flows.knowledge.chunks import Chunk
from penstock_server.flows.knowledge.embedder import Embedder
from penstock_server.flows.knowledge.knowledge import KnowledgeBase
from penstock_server.flows.knowledge.milvus import MilvusStore
from penstock_server.flows.knowledge.store import Hit, Place, Query, Store, Vector
from penstock_server.flows.threads import Threads

CHUNK = Chunk(source="tea.md", number=0, line=1, title="Tea", text="Green")


class OneVector(Embedder):
    """An embedder for which every text is the same."""

    def __init__(self) -> None:
        pass

    async def vector(self, text: str) -> Vector:
        return [1.0, 0.0]


@pytest.fixture
async def base_of() -> AsyncIterator[Callable[[Callable[[], Store]], KnowledgeBase]]:
    threads = Threads(16).share("test")
    made: list[KnowledgeBase] = []

    def make(open_store: Callable[[], Store]) -> KnowledgeBase:
        made.append(KnowledgeBase(open_store, OneVector(), threads))
        return made[-1]

    yield make
    await threads.close("test", 5)
    for base in made:
        await asyncio.to_thread(base.close)


async def test_a_server_that_was_started_again_is_found_again(
    base_of: Callable[..., KnowledgeBase], tmp_path: Path
) -> None:
    port = milvusserver.free_port()
    connection = MilvusConnection(name="far", uri=f"http://127.0.0.1:{port}")
    place = Place(name="shop", folder=tmp_path, collection="shop", dimensions=2, connection=connection)
    base = base_of(lambda: MilvusStore(place))
    query = Query(text="tea")
    with milvusserver.serving(tmp_path / "milvus", port):
        store = MilvusStore(place)
        store.insert([CHUNK], [[1.0, 0.0]])
        store.close()
        assert [hit.chunk for hit in await base.search(query)] == [CHUNK]
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable, match="the index of the knowledge base `shop` cannot be used"):
            await base.search(query)
    with milvusserver.serving(tmp_path / "milvus", port):
        assert [hit.chunk for hit in await base.search(query)] == [CHUNK]


class Fragile:
    """A store that fails when it is told to, and must not be used once it is closed."""

    def __init__(self, log: list[str]) -> None:
        self._log = log
        self._is_closed = False

    def search(self, query: Query) -> list[Hit]:
        time.sleep(0.01)
        assert not self._is_closed
        if query.text == "fail":
            raise UpstreamUnavailable("no")
        time.sleep(0.01)
        assert not self._is_closed
        return [Hit(chunk=CHUNK, score=1.0)]

    def close(self) -> None:
        assert not self._is_closed
        self._is_closed = True
        self._log.append("closed")


async def test_no_search_loses_its_index_to_the_failure_of_another(base_of: Callable[..., KnowledgeBase]) -> None:
    log: list[str] = []

    def open_store() -> Fragile:
        log.append("opened")
        return Fragile(log)

    base = base_of(open_store)
    searches = [base.search(Query(text="fail" if number % 10 == 0 else "tea")) for number in range(100)]
    answers = await asyncio.gather(*searches, return_exceptions=True)
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    assert (len(failed), {type(error) for error in failed}) == (10, {UpstreamUnavailable})
    await asyncio.to_thread(base.close)
    assert log.count("opened") == log.count("closed") > 1
