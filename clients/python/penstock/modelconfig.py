"""Which model, and where it is, as flow code gets it; the names and the fields are prompt flow's.

Nothing here needs more than the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self


@dataclass
class ModelConfiguration:
    """The base of configurations: a model, and a connection's name or the values of one."""

    MODEL: ClassVar[str]
    """The field that names the model."""
    FROM_CONNECTION: ClassVar[Mapping[str, str]]
    """The fields that a connection decides, with its own names for them."""

    @classmethod
    def keys(cls) -> list[str]:
        """The names of the fields."""
        return [each.name for each in fields(cls)]

    @classmethod
    def from_connection(cls, connection: Any, /, *args: str, **model: str) -> Self:
        """A configuration with the values of a connection object; the model is named as the class names it."""
        named = dict(zip((cls.MODEL,), args, strict=False)) | model
        decided = {name: getattr(connection, source, None) or None for name, source in cls.FROM_CONNECTION.items()}
        return cls(**named, **decided)

    def __post_init__(self) -> None:
        decided = [name for name in self.FROM_CONNECTION if getattr(self, name)]
        if getattr(self, "connection", None) and decided:
            raise ValueError(f"its connection decides about `{decided[0]}`; give one of the two")


@dataclass
class OpenAIModelConfiguration(ModelConfiguration):
    """A model of OpenAI's, or one that speaks its protocol."""

    MODEL = "model"
    FROM_CONNECTION = {"base_url": "base_url", "api_key": "api_key", "organization": "organization"}  # noqa: RUF012

    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    organization: str | None = None
    connection: str | None = None


@dataclass
class AzureOpenAIModelConfiguration(ModelConfiguration):
    """A deployment of Azure OpenAI."""

    MODEL = "azure_deployment"
    FROM_CONNECTION = {"azure_endpoint": "api_base", "api_version": "api_version", "api_key": "api_key"}  # noqa: RUF012

    azure_deployment: str
    azure_endpoint: str | None = None
    api_version: str | None = None
    api_key: str | None = field(default=None, repr=False)
    connection: str | None = None


CONFIGURATIONS: Mapping[str, type[ModelConfiguration]] = {
    each.__name__: each for each in (OpenAIModelConfiguration, AzureOpenAIModelConfiguration)
}
"""The configurations by the names that documents use."""
