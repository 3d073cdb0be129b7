"""Tries a Milvus server as an index would use it.

Importing this module needs the packages of `penstock[milvus]`.
"""

from pymilvus import MilvusClient, MilvusException

from penstock.connections import MilvusConnection
from penstock_server.errors import UpstreamUnavailable
from penstock_server.flows.knowledge.milvus import OWN_CONNECTION, credentials

REASONS = {
    "UNAUTHENTICATED": "the `token` is wrong, or it wants one (user:password)",
    "PERMISSION_DENIED": "the user of the `token` has no right to list collections",
    "DEADLINE_EXCEEDED": "something listens there, and does not answer as Milvus does",
    "UNAVAILABLE": "something listens there, and does not speak Milvus's protocol; with TLS, `uri` begins with https://",
    "UNIMPLEMENTED": "something listens there, and does not speak Milvus's protocol",
}
"""What is wrong, by the status of gRPC."""


def probe(connection: MilvusConnection, *, timeout_s: float) -> str:
    """The version of a server, once it has listed its collections for us. Blocks.

    Args:
        timeout_s: how long each of the three requests may take, in seconds.

    Raises:
        UpstreamUnavailable: the server does not answer, or does not let us in.
    """
    try:
        client = MilvusClient(uri=connection.uri, timeout=timeout_s, **credentials(connection), **OWN_CONNECTION)
        try:
            client.list_collections(timeout=timeout_s)
            return str(client.get_server_version(timeout=timeout_s))
        finally:
            client.close()
    except Exception as error:
        reason = _reason(error)
        if not reason:
            raise
        raise UpstreamUnavailable(reason) from None  # the cause would hold the request, with the token


def _reason(error: Exception) -> str:
    """Why it failed; empty where that is not known.

    The client says the same whether the address or the token is wrong: what gRPC said is behind it, or comes by itself.
    """
    code = getattr(error.__cause__ if isinstance(error, MilvusException) else error, "code", None)
    status = code() if callable(code) else None
    if name := getattr(status, "name", ""):
        return REASONS.get(name, f"it answers with {name}")
    return str(error.message) if isinstance(error, MilvusException) else ""
