"""Chunks that are found by their vectors, in Milvus: a server, or the embedded milvus-lite in the data folder.

Importing this module needs the packages of `penstock[milvus]`; `stores.py` imports it when a knowledge base needs it.
"""

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from milvus_lite.server_manager import server_manager_instance as embedded_servers
from pymilvus import DataType, MilvusClient, MilvusException

from penstock.connections import Connection
from penstock_server.errors import UpstreamUnavailable
from penstock_server.flows.knowledge.chunks import Chunk
from penstock_server.flows.knowledge.store import Filters, Hit, Place, Query, Vector

FILE = "vectors.db"
COLLECTION = "chunks"
"""What the embedded store calls it."""
INDEX = "FLAT"
"""Exact: milvus-lite's AUTOINDEX, a graph, finds nothing behind a filter that few of the chunks pass."""
TIMEOUT_S = 30.0
"""How long a server may take to answer."""
SOURCES_AT_ONCE = 100
"""How many files one request deletes."""

_FIELDS = ["source", "number", "line", "title", "text"]
_BYTES_MAX = {"source": 4096, "title": 2048, "text": 65_535}

# What goes wrong is told by errors of ours; theirs would add a page of traceback to the log, with data of callers.
for _name in ("pymilvus", "milvus_lite"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
# The client asks every server for a timestamp, and can do without: milvus-lite gives none, with a traceback.
logging.getLogger("grpc._server").addFilter(lambda record: "Method not implemented" not in record.getMessage())


class MilvusStore:
    """See `Store`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._collection = place.collection if place.connection else COLLECTION
        with self._translated():
            self._client, self._embedded = _connected(place)
            try:
                self._open()
            except BaseException:
                self.close()
                raise

    def insert(self, chunks: Sequence[Chunk], vectors: Sequence[Vector]) -> None:
        """See `Store.insert`."""
        rows = [_row(chunk, vector) for chunk, vector in zip(chunks, vectors, strict=True)]
        with self._translated():
            self._client.upsert(self._collection, rows, timeout=TIMEOUT_S)

    def delete(self, sources: Sequence[str]) -> None:
        """See `Store.delete`."""
        for begin in range(0, len(sources), SOURCES_AT_ONCE):
            expression = f"source in {_literal(sources[begin : begin + SOURCES_AT_ONCE])}"
            with self._translated():
                self._client.delete(self._collection, filter=expression, timeout=TIMEOUT_S)

    def search(self, query: Query) -> list[Hit]:
        """See `Store.search`."""
        with self._translated():
            found = self._client.search(
                self._collection,
                data=[list(query.vector)],
                limit=query.top_k,
                filter=_expression(query.filters),
                output_fields=_FIELDS,
                search_params={"metric_type": "COSINE"},
                timeout=TIMEOUT_S,
            )
        return [Hit(score=float(each["distance"]), chunk=_chunk(each["entity"])) for each in found[0]]

    def count(self) -> int:
        """See `Store.count`."""
        with self._translated():
            rows = self._client.query(
                self._collection, output_fields=["count(*)"], consistency_level="Strong", timeout=TIMEOUT_S
            )
        return int(rows[0]["count(*)"])

    def drop(self) -> None:
        """See `Store.drop`."""
        with self._translated():
            self._client.drop_collection(self._collection, timeout=TIMEOUT_S)

    def close(self) -> None:
        """See `Store.close`."""
        self._client.close()
        if self._embedded is not None:
            _released(self._embedded)
            self._embedded = None

    def _open(self) -> None:
        if not self._client.has_collection(self._collection, timeout=TIMEOUT_S):
            index = MilvusClient.prepare_index_params()
            index.add_index("vector", index_type=INDEX, metric_type="COSINE")
            schema = _schema(self._place.dimensions)
            self._client.create_collection(self._collection, schema=schema, index_params=index, timeout=TIMEOUT_S)
        self._client.load_collection(self._collection, timeout=TIMEOUT_S)
        found = _dimensions(self._client.describe_collection(self._collection, timeout=TIMEOUT_S))
        if found != self._place.dimensions:
            text = f"holds vectors of {found} numbers, not of {self._place.dimensions}: drop and build it anew"
            raise self._unavailable(text)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raises what the client raises as failures. They carry no cause: it would hold the request."""
        try:
            yield
        except MilvusException as error:
            raise self._unavailable(f"cannot be used: {_said(self._place, error)}") from None

    def _unavailable(self, what: str) -> UpstreamUnavailable:
        name, connection = self._place.name, self._place.connection
        metadata = {"knowledge": name} | ({"connection": connection.name} if connection else {})
        return UpstreamUnavailable(f"the index of the knowledge base `{name}` {what}", metadata=metadata)


OWN_CONNECTION: dict[str, Any] = {"dedicated": True, "grpc_options": {"grpc.use_local_subchannel_pool": 1}}
"""By default clients of one address share a connection, broken ones too; opened anew, ours is a new one."""

_lock = threading.Lock()
_users: Counter[Path] = Counter()
"""How many stores have each embedded server open; a process has one server a file."""


def credentials(connection: Connection) -> dict[str, str]:
    """What a client of a server is made with, beside its address."""
    return {"token": connection.token or "", "db_name": connection.db_name or ""}


def _connected(place: Place) -> tuple[MilvusClient, Path | None]:
    """The client, and the file of the embedded server behind it."""
    connection = place.connection
    uri = connection.uri if connection else str((place.folder / FILE).absolute())
    if not uri.endswith(".db"):
        given = credentials(connection) if connection else {}
        return MilvusClient(uri=uri, timeout=TIMEOUT_S, **given, **OWN_CONNECTION), None
    file = Path(uri).absolute()
    with _lock:
        client = MilvusClient(uri=str(file), timeout=TIMEOUT_S, **OWN_CONNECTION)
        _users[file] += 1
    return client, file


def _released(file: Path) -> None:
    """Ends an embedded server that nobody uses any more, so that other processes may open its file."""
    with _lock:
        _users[file] -= 1
        if not _users[file]:
            embedded_servers.release_server(str(file))


def _said(place: Place, error: MilvusException) -> str:
    if place.connection is None and "local milvus" in str(error.message):
        return "another process, a server perhaps, has it open, or its files are damaged"
    where = f"Milvus at {place.connection.uri} says " if place.connection else ""
    return where + " ".join(str(error.message).split())[:300]


def _schema(dimensions: int) -> Any:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimensions)
    for name in _FIELDS:
        if name in _BYTES_MAX:
            schema.add_field(name, DataType.VARCHAR, max_length=_BYTES_MAX[name])
        else:
            schema.add_field(name, DataType.INT64)
    return schema


def _dimensions(described: Mapping[str, Any]) -> int:
    vector = next(field for field in described["fields"] if field["name"] == "vector")
    return int(vector["params"]["dim"])


def _row(chunk: Chunk, vector: Vector) -> dict[str, object]:
    file = blake2b(chunk.source.encode(), digest_size=16).hexdigest()
    fields = {name: getattr(chunk, name) for name in _FIELDS}
    return {"id": f"{file}-{chunk.number}", "vector": list(vector), **fields}


def _chunk(entity: Mapping[str, Any]) -> Chunk:
    return Chunk(**{name: entity[name] for name in _FIELDS})


def _expression(filters: Filters) -> str:
    """The filters in Milvus's language of expressions."""
    sources = [f"source in {_literal(filters.files)}"] if filters.files else []
    sources += [f"(source >= {_literal(first)} and source < {_literal(behind)})" for first, behind in filters.folders]
    titles = [f"title in {_literal(filters.title)}"] if filters.title else []
    return " and ".join(f"({' or '.join(any_of)})" for any_of in (sources, titles) if any_of)


def _literal(value: object) -> str:
    """A text, or a list of texts; the escapes are those of JSON."""
    return json.dumps(value, ensure_ascii=False)
