"""A connection as it is declared: its values are looked at when it is made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from penstock.connections import (
    AzureContentSafetyConnection,
    AzureOpenAIConnection,
    CognitiveSearchConnection,
    Connection,
    CustomConnection,
    DashScopeConnection,
    FormRecognizerConnection,
    IncompleteConnection,
    InvalidConnection,
    MilvusConnection,
    MySqlConnection,
    OpenAIConnection,
    PostgresConnection,
    QdrantConnection,
    SerpConnection,
    ServerlessConnection,
    WeaviateConnection,
)
from penstock_server.flows.problems import did_you_mean

TYPES: Mapping[str, type[Connection]] = {
    each.TYPE: each
    for each in (
        OpenAIConnection,
        AzureOpenAIConnection,
        DashScopeConnection,
        ServerlessConnection,
        MilvusConnection,
        MySqlConnection,
        PostgresConnection,
        CustomConnection,
        SerpConnection,
        CognitiveSearchConnection,
        AzureContentSafetyConnection,
        FormRecognizerConnection,
        QdrantConnection,
        WeaviateConnection,
    )
}
"""The types, by the names that files use."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Declaration:
    """What a file or the environment says of a connection. It prints nothing of its values: they may be secrets."""

    name: str
    type: str
    values: Mapping[str, object]
    """As they stand there; `${env:X}` and `${env:X:-default}` are not replaced yet."""
    origin: str
    """Where it stands, for people."""
    optional: bool = False
    """Whether flows are served without it where values that it needs are not set."""

    def make(self, environ: Mapping[str, str]) -> Connection:
        """The connection.

        Raises:
            IncompleteConnection: a variable is not set, or a value that it needs is not given.
            InvalidConnection: the values do not make a connection.
        """
        kind = type_of(self.type)
        if kind is None:
            raise InvalidConnection(f"there is no type `{self.type}`; {did_you_mean(self.type, list(TYPES))}")
        return kind(name=self.name, **{key: _resolved(key, value, environ) for key, value in self.values.items()})


def type_of(name: str) -> type[Connection] | None:
    """The type of this name; prompt flow's spellings (`AzureOpenAI`, `OpenAIConnection`) count too."""
    plain = name.replace("_", "").lower().removesuffix("connection")
    return next((kind for known, kind in TYPES.items() if known.replace("_", "") == plain), None)


def _resolved(key: str, value: object, environ: Mapping[str, str]) -> object:
    if isinstance(value, Mapping):
        return {name: _resolved(f"{key}.{name}", each, environ) for name, each in value.items()}
    found = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    text = environ.get(found["name"]) or found["default"]
    if text is None:
        raise IncompleteConnection(f"`{key}` is the environment variable {found['name']}, which is not set")
    return text


_VARIABLE = re.compile(r"\$\{env:(?P<name>[^}:]+)(?::-(?P<default>[^}]*))?\}")
