"""Connections to databases and vector stores."""

import re
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from penstock.connections.connection import Connection, Field, InvalidConnection
from penstock.secret import Secret

SSL_MODES = ("disable", "require", "verify-ca", "verify-full")
"""How a connection to a database is encrypted and its server checked; the words are those of libpq."""
TLS_OPTIONS = ("sslmode", "sslrootcert")
"""What may follow the `?` of a database's address."""


class MilvusConnection(Connection):
    """A Milvus server, or the file of an embedded one, by its `uri`."""

    TYPE = "milvus"
    FIELDS = (
        Field(name="uri", required=True),
        Field(name="token", secret=True),
        Field(name="db_name", aliases=("database",)),
    )
    uri: str
    token: str | None
    db_name: str | None

    def __init__(self, *, name: str = "", **values: Any) -> None:
        super().__init__(name=name, **values)
        if "@" in self.uri.partition("://")[2].partition("/")[0]:
            raise InvalidConnection("`uri` must hold no user or password: give them as `token`, user:password")


class DatabaseConnection(Connection):
    """A database on a server, by its parts or by one `url` that holds them."""

    FIELDS = (
        Field(name="host", default="127.0.0.1"),
        Field(name="port"),
        Field(name="user", aliases=("username",)),
        Field(name="password", secret=True),
        Field(name="database", required=True, aliases=("db",)),
        Field(name="sslmode"),
        Field(name="sslrootcert"),
    )
    SCHEMES: ClassVar[tuple[str, ...]] = ()
    """The schemes that its URLs may have; the first is that of `url`."""
    PORT: ClassVar[int] = 0
    host: str
    user: str | None
    password: str | None
    database: str
    sslmode: str | None
    sslrootcert: str | None

    def __init__(self, *, name: str = "", url: str | Secret | None = None, **values: Any) -> None:
        parts = self._parts(url) if url else {}
        twice = [key for key in values if url and key != "password"]
        if twice:
            raise InvalidConnection(f"`url` and `{twice[0]}` both say where it is: give one of them")
        super().__init__(name=name, **{"port": self.PORT, **parts, **values})
        if self.sslmode not in (None, *SSL_MODES):
            raise InvalidConnection(f"`sslmode` must be one of {', '.join(SSL_MODES)}")
        if not re.fullmatch("[0-9]{1,5}", str(self.configs["port"])) or not 0 < self.port < 2**16:
            raise InvalidConnection("`port` must be a number from 1 to 65535")

    @classmethod
    def parameters(cls) -> list[str]:
        """See `Connection.parameters`."""
        return [*super().parameters(), "url"]

    @property
    def port(self) -> int:
        """The port, its type's own by default."""
        return int(self.configs["port"])

    @property
    def url(self) -> str:
        """All of it as one URL, with the password."""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        user = f"{quote(self.user, safe='')}{password}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        options = {key: self.configs[key] for key in TLS_OPTIONS if self.configs[key]}
        query = f"?{urlencode(options)}" if options else ""
        return f"{self.SCHEMES[0]}://{user}{host}:{self.port}/{quote(self.database, safe='')}{query}"

    @classmethod
    def _parts(cls, url: str | Secret) -> dict[str, Any]:
        try:
            parts = urlsplit(url.reveal() if isinstance(url, Secret) else url)
            port = parts.port
        except ValueError:  # its text may hold a part of the password
            raise InvalidConnection(f"`url` must be like {cls.SCHEMES[0]}://user:password@host:port/database") from None
        if parts.scheme not in cls.SCHEMES:
            raise InvalidConnection(f"`url` must begin with {cls.SCHEMES[0]}://")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.fragment or not options.keys() <= set(TLS_OPTIONS):
            raise InvalidConnection(f"`url` may have no ?parameters but {' and '.join(TLS_OPTIONS)}")
        found = {
            "host": parts.hostname,
            "port": port,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "database": unquote(parts.path.removeprefix("/")),
            **options,
        }
        return {key: value for key, value in found.items() if value}


class MySqlConnection(DatabaseConnection):
    """A database on a MySQL or MariaDB server."""

    TYPE = "mysql"
    SCHEMES = ("mysql", "mariadb")
    PORT = 3306


class PostgresConnection(DatabaseConnection):
    """A database on a PostgreSQL server."""

    TYPE = "postgresql"
    SCHEMES = ("postgresql", "postgres")
    PORT = 5432
