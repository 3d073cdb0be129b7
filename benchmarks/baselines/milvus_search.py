"""Searches one embedded index with Milvus's client alone and with a retrieval node, in turns; prints JSON.

usage: python -m benchmarks.baselines.milvus_search FOLDER CHUNKS SECONDS

The index is made in the first call, and stays in FOLDER. The query's vector is there already: no model is asked.
"""

import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pymilvus import MilvusClient

from benchmarks.baselines.loop import new_event_loop
from penstock_server.flows.dag.nodes.retrieval import RetrievalNode
from penstock_server.flows.knowledge.chunks import Chunk
from penstock_server.flows.knowledge.embedder import Embedder
from penstock_server.flows.knowledge.knowledge import KnowledgeBase
from penstock_server.flows.knowledge.milvus import COLLECTION, FILE, MilvusStore
from penstock_server.flows.knowledge.store import Place, Vector
from penstock_server.flows.threads import Threads

DIMENSIONS = 256
TOP_K = 5
TEXT = "The kettle sings at noon. " * 30
INSERTED_AT_ONCE = 1000
FIELDS = ["source", "number", "line", "title", "text"]


class Ready(Embedder):
    """An embedder that has the vector already."""

    def __init__(self, vector: Vector) -> None:
        self._vector = vector

    async def vector(self, text: str) -> Vector:
        return self._vector


def fill(place: Place, count: int) -> float:
    """Makes the index; returns how long that took, in seconds, or 0 where it was there."""
    if (place.folder / FILE).exists():
        return 0.0
    begin_s = time.monotonic()
    store = MilvusStore(place)
    numbers = random.Random(1)
    for begin in range(0, count, INSERTED_AT_ONCE):
        chunks = [chunk(number) for number in range(begin, min(begin + INSERTED_AT_ONCE, count))]
        store.insert(chunks, [vector(numbers) for _ in chunks])
    store.close()
    return time.monotonic() - begin_s


def chunk(number: int) -> Chunk:
    return Chunk(source=f"guide/{number // 10}.md", number=number % 10, line=1, title=f"Guide › {number}", text=TEXT)


def vector(numbers: random.Random) -> list[float]:
    return [numbers.gauss(0, 1) for _ in range(DIMENSIONS)]


async def measure(place: Place, seconds: float) -> dict[str, float]:
    """The medians of both, in milliseconds; each search by the client is followed by one of the node."""
    asked = vector(random.Random(2))
    threads = Threads(8).share("benchmark")
    base = KnowledgeBase(lambda: MilvusStore(place), Ready(asked), threads)
    node = RetrievalNode(base)
    found = await node.call({"query": "tea", "top_k": TOP_K})
    client = MilvusClient(uri=str(place.folder / FILE))
    client_ms, node_ms = [], []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        begin_s = time.monotonic()
        hits = client.search(COLLECTION, [asked], limit=TOP_K, output_fields=FIELDS)
        middle_s = time.monotonic()
        found = await node.call({"query": "tea", "top_k": TOP_K})
        node_ms.append((time.monotonic() - middle_s) * 1000)
        client_ms.append((middle_s - begin_s) * 1000)
    assert isinstance(found, Sequence)
    assert [each["title"] for each in found] == [hit["entity"]["title"] for hit in hits[0]]
    base.close()
    await threads.close("benchmark", 1)
    return {"client_ms": statistics.median(client_ms), "node_ms": statistics.median(node_ms)}


def main() -> None:
    """Prints what was measured."""
    folder, count, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    place = Place(name="benchmark", folder=folder, dimensions=DIMENSIONS)
    build_s = fill(place, count)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        print(json.dumps({**runner.run(measure(place, seconds)), "build_s": build_s}))


if __name__ == "__main__":
    main()
