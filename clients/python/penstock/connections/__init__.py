"""Connections: the addresses and the credentials that flows use, as Python tools get them.

A tool names the type that it wants, and its node names the connection:

    from penstock.connections import CustomConnection

    @tool
    def search(query: str, connection: CustomConnection) -> str:
        return requests.get(connection.address, headers={"X-Key": connection.key}).text

Every value is an attribute, secrets too; the connection itself prints without them. The names and the parameters are
those of prompt flow's `promptflow.connections`. Nothing here needs more than the standard library.
"""

from penstock.connections.connection import Connection, Field, IncompleteConnection, InvalidConnection
from penstock.connections.custom import CustomConnection
from penstock.connections.models import (
    AzureOpenAIConnection,
    DashScopeConnection,
    OpenAIConnection,
    ServerlessConnection,
)
from penstock.connections.services import (
    AzureContentSafetyConnection,
    CognitiveSearchConnection,
    FormRecognizerConnection,
    QdrantConnection,
    SerpConnection,
    WeaviateConnection,
)
from penstock.connections.stores import DatabaseConnection, MilvusConnection, MySqlConnection, PostgresConnection

__all__ = [
    "AzureContentSafetyConnection",
    "AzureOpenAIConnection",
    "CognitiveSearchConnection",
    "Connection",
    "CustomConnection",
    "DashScopeConnection",
    "DatabaseConnection",
    "Field",
    "FormRecognizerConnection",
    "IncompleteConnection",
    "InvalidConnection",
    "MilvusConnection",
    "MySqlConnection",
    "OpenAIConnection",
    "PostgresConnection",
    "QdrantConnection",
    "SerpConnection",
    "ServerlessConnection",
    "WeaviateConnection",
]
