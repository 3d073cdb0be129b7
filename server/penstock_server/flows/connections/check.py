"""Tries connections: whether what they lead to is there, and takes their credentials where that can be told."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from penstock.connections import Connection, DatabaseConnection, MilvusConnection
from penstock_server.errors import Failure
from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.models.models import MODEL_CONNECTIONS, Models
from penstock_server.flows.problems import ProblemFound

CHECK_TIMEOUT_S = 10.0
MILVUS_PORT = 19530


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of trying a connection."""

    name: str
    type: str
    """Empty where the connection is unknown or wrong."""
    ok: bool
    text: str
    """What was found, or what is wrong and what to do; no secret is in it."""


async def check(connections: Connections, names: list[str]) -> list[Finding]:
    """Tries connections, all at once."""
    models = Models(silence_timeout_s=CHECK_TIMEOUT_S)
    try:
        return await asyncio.gather(*(_checked(name, connections, models) for name in names))
    finally:
        await models.close()


async def _checked(name: str, connections: Connections, models: Models) -> Finding:
    kind = ""
    try:
        connection = connections.get(name)
        kind = connection.type
        return Finding(name=name, type=kind, ok=True, text=await _tried(connection, models))
    except ProblemFound as error:
        text = f"{error.text} ({error.hint})" if error.hint else error.text
    except Failure as error:
        text = error.message
    return Finding(name=name, type=kind, ok=False, text=text)


async def _tried(connection: Connection, models: Models) -> str:
    """What was found.

    Raises:
        Failure, ProblemFound: what is wrong.
    """
    if isinstance(connection, MODEL_CONNECTIONS):
        return await models.of(connection).check()
    if isinstance(connection, DatabaseConnection):
        return await _reached(connection.host, connection.port)
    if isinstance(connection, MilvusConnection):
        return await _milvus(connection)
    return "nothing to try: what it leads to, its flows know alone"


async def _milvus(connection: MilvusConnection) -> str:
    address = urlsplit(connection.uri)
    if address.hostname:
        return await _reached(address.hostname, address.port or MILVUS_PORT)
    return _own_file(connection.uri)


def _own_file(uri: str) -> str:
    folder = Path(uri).absolute().parent
    if not folder.is_dir():
        raise ProblemFound(f"the file of the database would lie in {folder}, which is no folder")
    return f"a file of its own, {uri}"


async def _reached(host: str, port: int) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        raise ProblemFound(f"{host}:{port} did not answer within {CHECK_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise ProblemFound(f"{host}:{port} cannot be reached: {error.strerror or error}") from None
    writer.close()
    return f"{host}:{port} answers; the credentials were not tried"
