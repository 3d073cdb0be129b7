"""Connections to databases are tried with their credentials, and what is wrong is told in words that help."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.databases import PASSWORD, USER, DatabaseServer, MariaDb, PostgreSql, running

KINDS = {"mysql": MariaDb, "postgresql": PostgreSql}
DRIVERS = {"mysql": "asyncmy", "postgresql": "asyncpg"}
RELOAD_TIMEOUT_S = 20
WRONG = "wrong-and-not-to-be-shown"


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    with running(KINDS[request.param]) as server:
        server.create("shop")
        yield server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def try_server(server: DatabaseServer, try_one: Callable[..., Any]) -> Callable[..., Any]:
    """Tries the server, with the right values but for those given."""

    async def run(**changed: object) -> tuple[bool, str]:
        values = {"port": str(server.port), "user": USER, "password": PASSWORD, "database": "shop"} | changed
        finding = await try_one(server.kind, **values)
        for secret in (PASSWORD, WRONG):
            assert secret not in finding.text
        return finding.ok, finding.text

    return run


async def test_a_database_that_lets_us_in_is_ok_with_its_version(try_server: Callable[..., Any]) -> None:
    ok, text = await try_server()
    assert (ok, text.startswith("`shop` lets us in; version ")) == (True, True)
    assert any(word in text for word in ("MariaDB", "PostgreSQL"))


@pytest.mark.parametrize("changed", [{"password": WRONG}, {"user": "nobody"}, {"password": ""}])
async def test_credentials_that_are_wrong_are_told(try_server: Callable[..., Any], changed: dict[str, str]) -> None:
    ok, text = await try_server(**changed)
    assert (ok, "the user or the password is wrong" in text) == (False, True), text


async def test_a_database_that_is_not_there_is_told(try_server: Callable[..., Any]) -> None:
    ok, text = await try_server(database="nothing")
    assert not ok
    # MySQL tells those alone that have the right to it whether a database is there.
    assert "there is no such database; create it first" in text or "or there is none of this name" in text


async def test_a_database_that_takes_encrypted_connections_only_says_so(
    server: DatabaseServer, try_server: Callable[..., Any]
) -> None:
    with encrypted_only(server):
        ok, text = await try_server()
    # MariaDB says the same of a wrong password; MySQL has a number of its own for it.
    said = "must connect encrypted (set sslmode)" if server.kind == "mysql" else "set sslmode to require"
    assert (ok, said in text) == (False, True), text
    assert (await try_server())[0]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
@pytest.mark.parametrize("server", ["postgresql"], indirect=True)
async def test_an_encrypted_connection_is_let_in_and_its_server_checked(
    server: DatabaseServer, try_server: Callable[..., Any]
) -> None:
    with encryption(server) as certificate, encrypted_only(server):
        assert (await try_server(sslmode="require"))[0]
        assert (await try_server(sslmode="verify-ca", sslrootcert=str(certificate)))[0]
        ok, text = await try_server(sslmode="verify-ca")
    assert (ok, "certificate verify failed" in text) == (False, True), text


async def test_a_server_without_encryption_is_told_where_the_connection_asks_for_it(
    server: DatabaseServer, try_server: Callable[..., Any]
) -> None:
    ok, text = await try_server(sslmode="verify-full")
    assert (ok, "SSL" in text) == (False, True), text


async def test_a_port_where_nothing_listens_is_told(kind: str, try_one: Callable[..., Any], closed_port: int) -> None:
    finding = await try_one(kind, port=str(closed_port), user=USER, password=PASSWORD, database="shop")
    assert not finding.ok
    assert finding.text.startswith(f"127.0.0.1:{closed_port}: ")
    assert "nothing listens there" in finding.text or "no connection to it comes about" in finding.text


async def test_a_host_that_is_not_known_is_told(kind: str, try_one: Callable[..., Any]) -> None:
    finding = await try_one(kind, host="nothing.invalid", database="shop")
    assert not finding.ok
    assert "nothing.invalid" in finding.text


async def test_a_port_that_accepts_and_hangs_is_given_up(
    kind: str, try_one: Callable[..., Any], silent_port: int
) -> None:
    began = time.monotonic()
    finding = await try_one(kind, timeout_s=0.5, port=str(silent_port), user=USER, password=PASSWORD, database="shop")
    assert (finding.ok, "it has taken longer than 0.5 s" in finding.text) == (False, True), finding.text
    assert time.monotonic() - began < 5


async def test_a_password_in_what_a_server_says_is_masked(try_one: Callable[..., Any]) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = b"\xff" + (1040).to_bytes(2, "little") + f"#08004no more of {PASSWORD}".encode()
        writer.write(len(said).to_bytes(3, "little") + b"\0" + said)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        finding = await try_one("mysql", port=str(port), user=USER, password=PASSWORD, database="shop")
    assert (finding.ok, "it has too many connections (no more of **********)" in finding.text) == (False, True), finding


async def test_a_driver_that_is_not_installed_is_named_with_the_command_that_brings_it(
    kind: str, try_one: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, DRIVERS[kind], None)
    finding = await try_one(kind, user=USER, password=PASSWORD, database="shop")
    assert not finding.ok
    assert finding.text.endswith(f"pip install 'penstock[{kind}]'")


@contextmanager
def encrypted_only(server: DatabaseServer) -> Iterator[None]:
    """Within the block, the server turns away connections that are not encrypted."""
    if server.kind == "mysql":
        server.execute("SET GLOBAL require_secure_transport = ON")
        yield
        server.execute("SET GLOBAL require_secure_transport = OFF")
        return
    file = server.folder / "data/pg_hba.conf"
    before = file.read_text()
    file.write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
    reload(server)
    yield
    file.write_text(before)
    reload(server)


@contextmanager
def encryption(server: DatabaseServer) -> Iterator[Path]:
    """Within the block, PostgreSQL takes encrypted connections; yields the certificate that it shows."""
    key, certificate = (server.folder / f"data/server.{suffix}" for suffix in ("key", "crt"))
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    owner = (server.folder / "data").stat()
    os.chown(key, owner.st_uid, owner.st_gid)
    os.chown(certificate, owner.st_uid, owner.st_gid)
    key.chmod(0o600)
    certificate.chmod(0o644)
    server.execute("ALTER SYSTEM SET ssl = on")
    reload(server)
    yield certificate
    server.execute("ALTER SYSTEM RESET ssl")
    reload(server)


def reload(server: DatabaseServer) -> None:
    """Has PostgreSQL read its files again, and returns once new connections are judged by them."""
    loaded = "SELECT pg_conf_load_time()"
    before = server.execute(loaded)
    server.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + RELOAD_TIMEOUT_S
    while server.execute(loaded) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
