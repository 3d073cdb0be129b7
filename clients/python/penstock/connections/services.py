"""Connections to further services that prompt flow has types for; Penstock itself does not call them, tools do."""

from penstock.connections.connection import Connection, Field

_API_KEY = Field(name="api_key", secret=True, required=True)
_API_BASE = Field(name="api_base", required=True, aliases=("endpoint",))
_ENDPOINT = Field(name="endpoint", required=True, aliases=("api_base",))


class SerpConnection(Connection):
    """SerpApi."""

    TYPE = "serp"
    FIELDS = (_API_KEY,)
    api_key: str


class CognitiveSearchConnection(Connection):
    """Azure AI Search."""

    TYPE = "cognitive_search"
    FIELDS = (_API_KEY, _API_BASE, Field(name="api_version", default="2023-11-01"))
    api_key: str
    api_base: str
    api_version: str


class AzureContentSafetyConnection(Connection):
    """Azure AI Content Safety."""

    TYPE = "azure_content_safety"
    FIELDS = (_API_KEY, _ENDPOINT, Field(name="api_version", default="2023-10-01"))
    api_key: str
    endpoint: str
    api_version: str


class FormRecognizerConnection(Connection):
    """Azure AI Document Intelligence."""

    TYPE = "form_recognizer"
    FIELDS = (_API_KEY, _ENDPOINT, Field(name="api_version", default="2023-07-31"))
    api_key: str
    endpoint: str
    api_version: str


class QdrantConnection(Connection):
    """A Qdrant server."""

    TYPE = "qdrant"
    FIELDS = (_API_KEY, _API_BASE)
    api_key: str
    api_base: str


class WeaviateConnection(Connection):
    """A Weaviate server."""

    TYPE = "weaviate"
    FIELDS = (_API_KEY, _API_BASE)
    api_key: str
    api_base: str
