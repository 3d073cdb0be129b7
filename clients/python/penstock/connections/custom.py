"""Connections to anything else."""

from collections.abc import Mapping
from typing import Any

from penstock.connections.connection import Connection, InvalidConnection
from penstock.secret import Secret


class CustomConnection(Connection):
    """Values of the user's own: `configs`, and `secrets`. Each is an attribute as well."""

    TYPE = "custom"

    def __init__(
        self,
        secrets: Mapping[str, str | Secret] | None = None,
        configs: Mapping[str, Any] | None = None,
        *,
        name: str = "",
    ) -> None:
        both = set(secrets or ()) & set(configs or ())
        if both:
            raise InvalidConnection(f"`{min(both)}` is among the configs and among the secrets")
        self._keep(name, configs or {}, secrets or {})

    def is_secret(self, item: str) -> bool:
        """Whether this value is a secret."""
        return item in self.secrets
