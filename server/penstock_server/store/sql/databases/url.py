"""Where a store lies: `sqlite:///PATH`, `mysql://…`, `postgresql://…` or `connection:NAME`, checked."""

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from penstock.connections.stores import SSL_MODES, TLS_OPTIONS
from penstock_server.store.errors import StoreError

FORMS = "sqlite:///PATH, mysql://USER:PASSWORD@HOST/DATABASE, postgresql://USER:PASSWORD@HOST/DATABASE, connection:NAME"
CONNECTION = "connection:"

KINDS = {"sqlite": "sqlite", "mysql": "mysql", "mariadb": "mysql", "postgresql": "postgresql", "postgres": "postgresql"}
"""The schemes that we know, with the database of each."""
DRIVERS = {"mysql": "asyncmy", "postgresql": "asyncpg"}
"""The package that each database needs beside `penstock[server]`; the extra is called as the database."""
OPTIONS = {
    "mysql": (*TLS_OPTIONS, "unix_socket"),
    "postgresql": (*TLS_OPTIONS, "host"),
}
"""What may follow the `?` of each database's address."""
PASSWORD = re.compile(r"://[^/?#]*@")

Address = URL
"""A checked address."""
Resolver = Callable[[str], str]
"""Gives the address that a connection's name stands for; raises StoreError where there is none."""


def parse(text: str, *, resolve: Resolver | None = None) -> URL:
    """The address of a store.

    Args:
        text: the address as the user gave it.
        resolve: finds connections by name.

    Returns:
        A URL whose scheme is `sqlite`, `mysql` or `postgresql`.

    Raises:
        StoreError: it is none, or its driver is not installed; the message says what to do and shows no password.
    """
    url = _checked_scheme(_resolved(text, resolve))
    if url.drivername == "sqlite":
        return _checked_file(url)
    _check_options(url)
    _check_server(url)
    _check_driver(url.drivername)
    return url


def file(path: Path) -> str:
    """The address of an SQLite file."""
    return f"sqlite:///{path}"


def shown(url: URL) -> str:
    """The address as it may be printed: without its password."""
    return url.render_as_string(hide_password=True)


def _resolved(text: str, resolve: Resolver | None) -> str:
    if not text.startswith(CONNECTION):
        return text
    name = text.removeprefix(CONNECTION)
    if resolve is None:
        raise StoreError(f"--store {text}: connections by name are not known here; give the database's address")
    return resolve(name)


def _checked_scheme(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # its own message may hold the password
        raise StoreError(f"--store {_masked(text)} is no address of a database; give one of: {FORMS}") from None
    if url.drivername not in KINDS:
        raise StoreError(f"--store {shown(url)}: {url.drivername!r} is no database that we know; give one of: {FORMS}")
    return url.set(drivername=KINDS[url.drivername])


def _masked(text: str) -> str:
    return PASSWORD.sub("://***@", text)


def _checked_file(url: URL) -> URL:
    if url.host or url.username or url.query:
        raise StoreError(f"--store {shown(url)}: write sqlite:///PATH, or sqlite:////PATH where the path begins with /")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise StoreError(f"--store {shown(url)} names no file; write sqlite:///PATH, or --no-store to store nothing")
    return url


def _check_server(url: URL) -> None:
    if not url.database:
        raise StoreError(f"--store {shown(url)} names no database; add /DATABASE")
    if not url.host and not {"unix_socket", "host"} & url.query.keys():
        raise StoreError(f"--store {shown(url)} names no host; write {url.drivername}://USER:PASSWORD@HOST/DATABASE")
    if url.port == 0:
        raise StoreError(f"--store {shown(url)}: a database does not listen on port 0")


def _check_options(url: URL) -> None:
    known = OPTIONS[url.drivername]
    for name, value in url.query.items():
        if name not in known:
            raise StoreError(f"--store {shown(url)}: there is no option {name!r}; there are {', '.join(known)}")
        if not isinstance(value, str):
            raise StoreError(f"--store {shown(url)}: {name!r} is given twice")
    mode = url.query.get("sslmode", "disable")
    if mode not in SSL_MODES:
        raise StoreError(f"--store {shown(url)}: sslmode is one of {', '.join(SSL_MODES)}")


def _check_driver(kind: str) -> None:
    if find_spec(DRIVERS[kind]) is None:
        raise StoreError(
            f"{kind} needs a driver that is not installed (there is no module {DRIVERS[kind]}): "
            f"pip install 'penstock[{kind}]'"
        )


def option(url: URL, name: str) -> str:
    """An option after the `?`; empty where it is not given."""
    options: Mapping[str, object] = url.query
    return str(options.get(name, ""))
