"""Tries connections: whether what they lead to is there, and takes their credentials where that can be told."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from penstock.connections import Connection, DatabaseConnection, MilvusConnection
from penstock.secret import masked
from penstock_server.errors import Failure, UpstreamUnavailable
from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.knowledge import stores
from penstock_server.flows.models.models import MODEL_CONNECTIONS, Models
from penstock_server.flows.problems import ProblemFound
from penstock_server.store.errors import NotConnected, StoreError

CHECK_TIMEOUT_S = 10.0
"""How long each step of a check may take: to connect, and to be answered."""
MILVUS_PORT = 19530
TEXT_CHARS_MAX = 400
"""How much of what a server says is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of trying a connection."""

    name: str
    type: str
    """Empty where the connection is unknown, wrong or not set."""
    ok: bool
    text: str
    """What was found, or what is wrong and what to do, in one line; no secret is in it."""


class ProbeDatabase(Protocol):
    """What tries databases: the store knows how to use one, flows do not."""

    async def __call__(self, address: str, *, timeout_s: float) -> str:
        """The version of the database at an address, whose credentials it has taken. Raises StoreError."""


async def check(
    connections: Connections, names: list[str], *, probe_database: ProbeDatabase, timeout_s: float = CHECK_TIMEOUT_S
) -> list[Finding]:
    """Tries connections, all at once.

    Args:
        timeout_s: how long each step of a check may take, in seconds.
    """
    tried = _Check(connections, Models(silence_timeout_s=timeout_s), probe_database, timeout_s)
    try:
        return await asyncio.gather(*map(tried.of, names))
    finally:
        await tried.models.close()


@dataclass(frozen=True, slots=True)
class _Check:
    connections: Connections
    models: Models
    probe_database: ProbeDatabase
    timeout_s: float

    async def of(self, name: str) -> Finding:
        kind = ""
        try:
            connection = self.connections.find(name)
            if connection is None:
                return Finding(name=name, type=kind, ok=True, text="optional, and not set")
            kind = connection.type
            return Finding(name=name, type=kind, ok=True, text=_told(await self._tried(connection)))
        except ProblemFound as error:
            text = f"{error.text} ({error.hint})" if error.hint else error.text
        except Failure as error:
            text = error.message
        except StoreError as error:
            text = str(error)
        return Finding(name=name, type=kind, ok=False, text=_told(text))

    async def _tried(self, connection: Connection) -> str:
        """What was found.

        Raises:
            Failure, ProblemFound, StoreError: what is wrong.
        """
        if isinstance(connection, MODEL_CONNECTIONS):
            return await self.models.of(connection).check()
        if isinstance(connection, DatabaseConnection):
            return await self._database(connection)
        if isinstance(connection, MilvusConnection):
            return await self._milvus(connection)
        return "nothing to try: what it leads to, its flows know alone"

    async def _database(self, connection: DatabaseConnection) -> str:
        try:
            version = await self.probe_database(connection.url, timeout_s=self.timeout_s)
        except NotConnected as error:
            raise ProblemFound(f"{connection.host}:{connection.port}: {error.reason}") from None
        return f"`{connection.database}` lets us in; version {version}"

    async def _milvus(self, connection: MilvusConnection) -> str:
        stores.of(stores.VECTORS)  # whether its packages are there
        address = urlsplit(connection.uri)
        if not address.hostname:
            return _own_file(connection.uri)
        await self._reached(address.hostname, address.port or MILVUS_PORT)
        from penstock_server.flows.knowledge.milvusprobe import probe

        try:
            version = await asyncio.to_thread(probe, connection, timeout_s=self.timeout_s)
        except UpstreamUnavailable as failure:
            raise ProblemFound(f"{address.hostname}:{address.port or MILVUS_PORT}: {failure.message}") from None
        return f"lists its collections; version {version}"

    async def _reached(self, host: str, port: int) -> None:
        """Milvus's client tries for as long as it may to reach what is not there, and then does not say why."""
        try:
            async with asyncio.timeout(self.timeout_s):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            raise ProblemFound(f"{host}:{port} did not answer within {self.timeout_s:g} s") from None
        except ConnectionRefusedError:
            raise ProblemFound(f"{host}:{port} cannot be reached: nothing listens there") from None
        except OSError as error:
            raise ProblemFound(f"{host}:{port} cannot be reached: {error.strerror or error}") from None
        writer.close()


def _own_file(uri: str) -> str:
    folder = Path(uri).absolute().parent
    if not folder.is_dir():
        raise ProblemFound(f"the file of the database would lie in {folder}, which is no folder")
    return f"a file of its own, {uri}"


def _told(text: str) -> str:
    """The text on one line and without secrets: servers and drivers say what they like."""
    return " ".join(masked(text).split())[:TEXT_CHARS_MAX]
