"""Connections to models."""

from typing import Any

from penstock.connections.connection import Connection, Field, IncompleteConnection, InvalidConnection, check_address
from penstock.secret import Secret

DASHSCOPE_URL = "https://dashscope.aliyuncs.com/compatible-mode/v1"
AZURE_API_VERSION = "2024-10-21"
AZURE_KEY_MODE = "key"


class OpenAIConnection(Connection):
    """OpenAI, or any server that speaks its protocol at a `base_url`."""

    TYPE = "open_ai"
    FIELDS = (
        Field(name="api_key", secret=True),
        Field(name="base_url", aliases=("api_base",)),
        Field(name="organization"),
    )
    api_key: str | None
    base_url: str | None
    organization: str | None

    def __init__(self, api_key: str | Secret | None = None, *, name: str = "", **values: Any) -> None:
        super().__init__(name=name, api_key=api_key, **values)
        if self.base_url is not None:
            check_address("base_url", self.base_url)
        elif not api_key:
            raise IncompleteConnection("it needs an `api_key`, or the `base_url` of a server that wants none")


class ServerlessConnection(Connection):
    """A model that Azure serves at an address of its own, with OpenAI's protocol."""

    TYPE = "serverless"
    FIELDS = (
        Field(name="api_key", secret=True, required=True),
        Field(name="api_base", required=True, aliases=("base_url",)),
    )
    api_key: str
    api_base: str

    def __init__(self, api_key: str | Secret | None = None, *, name: str = "", **values: Any) -> None:
        super().__init__(name=name, api_key=api_key, **values)
        check_address("api_base", self.api_base)


class AzureOpenAIConnection(Connection):
    """Azure OpenAI; `api_base` is the resource's address, `https://<name>.openai.azure.com`."""

    TYPE = "azure_open_ai"
    FIELDS = (
        Field(name="api_key", secret=True, required=True),
        Field(name="api_base", required=True, aliases=("base_url", "azure_endpoint", "endpoint")),
        Field(name="api_type", default="azure"),
        Field(name="api_version", default=AZURE_API_VERSION),
        Field(name="auth_mode", default=AZURE_KEY_MODE),
        Field(name="resource_id"),
    )
    api_key: str
    api_base: str
    api_type: str
    api_version: str
    auth_mode: str
    resource_id: str | None

    def __init__(self, api_key: str | Secret | None = None, *, name: str = "", **values: Any) -> None:
        super().__init__(name=name, api_key=api_key, **values)
        check_address("api_base", self.api_base)
        if self.auth_mode != AZURE_KEY_MODE:
            raise InvalidConnection(f"`auth_mode` must be `{AZURE_KEY_MODE}`")


class DashScopeConnection(Connection):
    """Alibaba Cloud Model Studio, at the endpoint that speaks OpenAI's protocol."""

    TYPE = "dashscope"
    FIELDS = (
        Field(name="api_key", secret=True, required=True),
        Field(name="base_url", aliases=("api_base",), default=DASHSCOPE_URL),
    )
    api_key: str
    base_url: str

    def __init__(self, api_key: str | Secret | None = None, *, name: str = "", **values: Any) -> None:
        super().__init__(name=name, api_key=api_key, **values)
        check_address("base_url", self.base_url)
