"""Addresses of stores: what is taken, and what is said of the rest."""

import subprocess
import sys

import pytest

from penstock_server.store.errors import StoreError
from penstock_server.store.sql.databases.url import parse, shown


@pytest.mark.parametrize(
    ("text", "kind", "database"),
    [
        ("sqlite:///chat.db", "sqlite", "chat.db"),
        ("sqlite:////var/lib/a b/chat.db", "sqlite", "/var/lib/a b/chat.db"),
        ("mysql://u:p@h/db", "mysql", "db"),
        ("mariadb://u:p@h:3307/db?sslmode=verify-full&sslrootcert=/ca.pem", "mysql", "db"),
        ("mysql://u@/db?unix_socket=/run/mysqld.sock", "mysql", "db"),
        ("postgresql://u:p%40ss@[::1]:5433/db?sslmode=require", "postgresql", "db"),
        ("postgres://u@/db?host=/run/postgresql", "postgresql", "db"),
    ],
)
def test_an_address_names_its_database(text: str, kind: str, database: str) -> None:
    url = parse(text)
    assert (url.drivername, url.database) == (kind, database)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no address of a database; give one of: sqlite:///PATH"),
        ("chat.db", "is no address of a database"),
        ("redis://h/0", "'redis' is no database that we know"),
        ("mysql+pymysql://u:secret@h/db", "'mysql+pymysql' is no database that we know"),
        ("mysql://u:secret@h:port/db", "is no address of a database"),
        ("mysql://u:secret@h:0/db", "does not listen on port 0"),
        ("mysql://u:secret@h", "names no database; add /DATABASE"),
        ("postgresql://u:secret@/db", "names no host"),
        ("mysql://u:secret@h/db?charset=latin1", "there is no option 'charset'; there are sslmode"),
        ("mysql://u:secret@h/db?sslmode=on", "sslmode is one of disable, require"),
        ("postgresql://u:secret@h/db?sslmode=require&sslmode=disable", "'sslmode' is given twice"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://chat.db", "write sqlite:///PATH"),
        ("sqlite:///chat.db?mode=ro", "write sqlite:///PATH"),
        ("connection:shop", "connections by name are not known here"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_a_password(text: str, said: str) -> None:
    with pytest.raises(StoreError) as refused:
        parse(text)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_connection_is_found_by_its_name() -> None:
    connections = {"shop": "postgresql://u:p@h/db", "broken": "nothing"}
    assert parse("connection:shop", resolve=connections.__getitem__).host == "h"
    with pytest.raises(StoreError, match="no address of a database"):
        parse("connection:broken", resolve=connections.__getitem__)


def test_an_address_is_shown_without_its_password() -> None:
    assert shown(parse("mysql://u:secret@h:3307/db")) == "mysql://u:***@h:3307/db"


@pytest.mark.parametrize(("kind", "module"), [("mysql", "asyncmy"), ("postgresql", "asyncpg")])
def test_a_missing_driver_is_named_with_the_command_that_installs_it(kind: str, module: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from penstock_server.store.sql.databases.url import parse\n"
        f"try: parse('{kind}://u:p@h/db')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("StoreError ")
    assert f"pip install 'penstock[{kind}]'" in result.stdout
