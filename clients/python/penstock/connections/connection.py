"""What every connection has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlsplit

from penstock.secret import MASK, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A value that the connections of a type have."""

    name: str
    secret: bool = False
    required: bool = False
    default: object = None
    aliases: tuple[str, ...] = ()
    """Other names of it, in files and as attributes."""


class InvalidConnection(ValueError):
    """The values of a connection do not make one; the message says why, and holds no secret."""


class IncompleteConnection(InvalidConnection):
    """Something that the connection needs is not given; nothing else is known to be wrong."""


class Secrets:
    """The secrets of a connection: like a read-only dict of texts that prints without them.

    It is no `Mapping`, so that nothing takes it for data and writes it down.
    """

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Mapping[str, Secret]) -> None:
        self._secrets = dict(secrets)

    def __getitem__(self, key: str) -> str:
        return self._secrets[key].reveal()

    def __contains__(self, key: object) -> bool:
        return key in self._secrets

    def __iter__(self) -> Iterator[str]:
        return iter(self._secrets)

    def __len__(self) -> int:
        return len(self._secrets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secrets) and self._secrets == other._secrets

    def __hash__(self) -> int:
        return hash(frozenset(self._secrets.items()))

    def __repr__(self) -> str:
        return repr(self._secrets)

    def get(self, key: str, default: str | None = None) -> str | None:
        """The secret of this name, or the default."""
        secret = self._secrets.get(key)
        return default if secret is None else secret.reveal()

    def keys(self) -> list[str]:
        """The names of the secrets."""
        return list(self._secrets)

    def items(self) -> list[tuple[str, str]]:
        """The names with the secrets."""
        return [(key, self[key]) for key in self]

    def hidden(self) -> list[Secret]:
        """The secrets as they are kept."""
        return list(self._secrets.values())


class Connection:
    """Something that a flow talks to.

    Attributes:
        name: what flows call it; empty for one that was made in code.
        configs: the values that are no secrets, by name; None where nothing is set.
        secrets: the others.
    """

    TYPE: ClassVar[str] = ""
    """The type, as `connections.yaml` names it."""
    FIELDS: ClassVar[tuple[Field, ...]] = ()
    """The values that it may have."""

    name: str
    configs: Mapping[str, Any]
    secrets: Secrets

    def __init__(self, *, name: str = "", **values: Any) -> None:
        """Takes the values of its type, by their names or their aliases.

        Raises:
            InvalidConnection: one is missing, unknown or impossible.
        """
        given = _named(values, self.FIELDS)
        configs = {field.name: given[field.name] for field in self.FIELDS if not field.secret}
        secrets = {field.name: given[field.name] for field in self.FIELDS if field.secret and given[field.name]}
        self._keep(name, configs, secrets)

    @classmethod
    def parameters(cls) -> list[str]:
        """The names that its values may be given by."""
        return [name for field in cls.FIELDS for name in (field.name, *field.aliases)]

    @property
    def type(self) -> str:
        """The same as `TYPE`."""
        return self.TYPE

    def keys(self) -> list[str]:
        """The names of all values; together with `[]` it makes `**connection` work."""
        return [*self.configs, *self.secrets]

    def __getitem__(self, key: str) -> Any:
        return self.secrets[key] if key in self.secrets else self.configs[key]

    def __getattr__(self, key: str) -> Any:
        if not key.startswith("_"):
            name = next((field.name for field in self.FIELDS if key == field.name or key in field.aliases), key)
            if name in self.keys():
                return self[name]
            if any(field.name == name for field in self.FIELDS):
                return None  # a secret that is not set
        raise AttributeError(f"the connection `{self.__dict__.get('name', '')}` has no value `{key}`")

    def __setattr__(self, key: str, value: object) -> NoReturn:
        raise AttributeError("a connection does not change")

    def __repr__(self) -> str:
        values = {"name": self.name, **self.configs}
        shown = [f"{key}={value!r}" for key, value in values.items() if value is not None]
        return f"{type(self).__name__}({', '.join([*shown, *(f'{key}={MASK}' for key in self.secrets)])})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and (self.TYPE, self.name, self.configs, self.secrets) == (
            other.TYPE,
            other.name,
            other.configs,
            other.secrets,
        )

    def __hash__(self) -> int:
        return hash((self.TYPE, self.name, self.secrets))

    def __copy__(self) -> "Connection":
        return self

    def __deepcopy__(self, _: object) -> "Connection":
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError("a connection is not pickled, for it holds secrets")

    def _keep(self, name: str, configs: Mapping[str, Any], secrets: Mapping[str, object]) -> None:
        hidden = {key: _hidden(value) for key, value in secrets.items()}
        self.__dict__.update(name=name, configs=MappingProxyType(dict(configs)), secrets=Secrets(hidden))


def check_address(key: str, value: object) -> None:
    """Refuses what is no http(s) address, or one that holds a password: addresses are shown.

    Raises:
        InvalidConnection: it is no such address.
    """
    try:
        parts = urlsplit(str(value))
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise InvalidConnection(f"`{key}` must be an address like https://host/path")
    if "@" in parts.netloc:
        raise InvalidConnection(f"`{key}` must hold no user or password: addresses are shown in errors and logs")


def _hidden(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    return Secret("" if value is None else str(value))


def _named(values: Mapping[str, Any], fields: tuple[Field, ...]) -> dict[str, Any]:
    """The values by the names of their fields, with defaults; empty ones count as not given."""
    names = {name: field.name for field in fields for name in (field.name, *field.aliases)}
    unknown = [key for key in values if key not in names]
    if unknown:
        raise InvalidConnection(f"it has no `{unknown[0]}`; it has: {', '.join(field.name for field in fields)}")
    given = {names[key]: value for key, value in values.items() if value not in (None, "")}
    missing = [field.name for field in fields if field.required and field.name not in given]
    if missing:
        raise IncompleteConnection(f"it needs `{missing[0]}`")
    return {field.name: given.get(field.name, field.default) for field in fields}
