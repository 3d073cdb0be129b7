"""Private MariaDB and PostgreSQL servers for tests: in a temporary folder, on a free port, ended by their own pids."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
USER, PASSWORD = "penstock", "secret-of-the-tests"
UNPRIVILEGED = "postgres"
"""Who runs PostgreSQL where the tests are root's: it refuses root. The Debian package makes this user."""


class DatabaseServer(ABC):
    """A server of its own.

    Args:
        folder: an empty folder, for this server alone.
        durable: whether what it commits is on the disk. Without, it is quicker, and a `kill` still loses nothing that
            the operating system has.
    """

    kind: str
    binary: str

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self.folder = folder
        self.durable = durable
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        """The address of a database for `--store`."""
        return f"{self.kind}://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Returns once the server accepts connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self.accepts():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.binary} does not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Lets the server end in its own way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server as a crash would."""
        self._end(signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Within the block, the server keeps its connections and answers nothing."""
        pids = self._pids()
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(pids, signal.SIGCONT)

    def create(self, database: str) -> str:
        """Makes an empty database, and returns its address."""
        self.execute(*self._creation(database))
        return self.url(database)

    @abstractmethod
    def accepts(self) -> bool:
        """Whether the server accepts connections."""

    @abstractmethod
    def execute(self, *statements: str, database: str = "") -> str:
        """Executes statements as the administrator; returns what the last one prints, tab-separated."""

    @abstractmethod
    def _command(self) -> Sequence[str]: ...

    @abstractmethod
    def _creation(self, database: str) -> Sequence[str]: ...

    def _pids(self) -> list[int]:
        return [self.process.pid] if self.process else []

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        _signal(self._pids() if number is signal.SIGKILL else [self.process.pid], number)
        self.process.wait(STOP_TIMEOUT_S)
        self.process = None


class MariaDb(DatabaseServer):
    """MariaDB, as the current user."""

    kind = "mysql"
    binary = "mariadbd"

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        super().__init__(folder, durable=durable)
        me = f"--user={_my_name()}"
        install = [_binary("mariadb-install-db"), "--no-defaults", me, f"--datadir={folder / 'data'}"]
        options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        (folder / "tmp").mkdir()
        _run([*install, *options, *self._own(), *self._safety()])

    def accepts(self) -> bool:
        """See DatabaseServer. The server is the first to speak; while it recovers, it does not listen."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                return bool(connection.recv(1))
        except OSError:
            return False

    def execute(self, *statements: str, database: str = "") -> str:
        """See DatabaseServer."""
        client = [_binary("mariadb"), "--no-defaults", f"--socket={self._socket}", "--user=root", "--batch"]
        return _run([*client, "--skip-column-names", "--execute", "; ".join(statements), database or "mysql"])

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    def _command(self) -> Sequence[str]:
        return [
            _binary(self.binary),
            "--no-defaults",
            f"--user={_my_name()}",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self._socket}",
            f"--pid-file={self.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--performance-schema=OFF",
            "--max-connections=200",
            *self._own(),
            *self._safety(),
        ]

    def _own(self) -> Sequence[str]:
        # A server that starts removes the temporary tables that it finds, and so would remove those of another.
        return (f"--tmpdir={self.folder / 'tmp'}",)

    def _safety(self) -> Sequence[str]:
        return () if self.durable else ("--innodb-flush-method=nosync", "--innodb-doublewrite=OFF")

    def _creation(self, database: str) -> Sequence[str]:
        return (
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'",
            f"CREATE DATABASE `{database}`",
            f"GRANT ALL ON `{database}`.* TO '{USER}'@'%'",
        )


class PostgreSql(DatabaseServer):
    """PostgreSQL; as `postgres` where the current user is root."""

    kind = "postgresql"
    binary = "postgres"

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        super().__init__(folder, durable=durable)
        if os.getuid() == 0:
            shutil.chown(folder, UNPRIVILEGED, UNPRIVILEGED)
        options = ["--no-sync", "--no-instructions", "--auth-local=trust", "--auth-host=scram-sha-256"]
        encoding = ["--encoding=UTF8", "--locale=C", f"--username={UNPRIVILEGED}"]
        _run([*_unprivileged(), _binary("initdb"), f"--pgdata={folder / 'data'}", *options, *encoding])

    def accepts(self) -> bool:
        """See DatabaseServer. While it recovers, it listens and refuses."""
        asked = [_binary("pg_isready"), "--quiet", f"--host={self.folder}", f"--port={self.port}"]
        return subprocess.run(asked, check=False).returncode == 0

    def execute(self, *statements: str, database: str = "") -> str:
        """See DatabaseServer."""
        client = [_binary("psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=\t"]
        server = [f"--host={self.folder}", f"--port={self.port}", f"--username={UNPRIVILEGED}"]
        commands = [part for each in statements for part in ("--command", each)]
        return _run([*client, *server, "--set=ON_ERROR_STOP=1", *commands, database or "postgres"])

    def _command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "max_connections": 200,
            **({} if self.durable else {"fsync": "off", "full_page_writes": "off"}),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*_unprivileged(), _binary(self.binary), "-D", str(self.folder / "data"), *options]

    def _creation(self, database: str) -> Sequence[str]:
        role = f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"
        once = f"DO $$ BEGIN {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        return once, f'CREATE DATABASE "{database}" OWNER {USER}'

    def _pids(self) -> list[int]:
        """The server and its children: each connection is a process."""
        if self.process is None:
            return []
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def _end(self, number: signal.Signals) -> None:
        # SIGTERM would wait until the last client has gone.
        super()._end(signal.SIGINT if number is signal.SIGTERM else number)


@contextlib.contextmanager
def running(kind: type[DatabaseServer], *, durable: bool = False) -> Iterator[DatabaseServer]:
    """A server that lives as long as the block; skips the test where its program is not installed."""
    require(kind)
    # Not below pytest's folders, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="penstock-", ignore_cleanup_errors=True) as folder:
        server = kind(Path(folder), durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def require(kind: type[DatabaseServer]) -> None:
    """Skips the test where the server's program is not installed; fails it where CI=true."""
    if _found(kind.binary) is not None:
        return
    reason = f"{kind.binary} is not installed; `make test` as root installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # a server's children come and go
            os.kill(pid, number)


def _found(name: str) -> str | None:
    """Debian puts servers where only root looks, and PostgreSQL's programs in a folder a version."""
    folders = ["/usr/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders))


def _binary(name: str) -> str:
    path = _found(name)
    assert path is not None, f"{name} is not installed"
    return path


def _unprivileged() -> Sequence[str]:
    """Runs a program as one who may run PostgreSQL.

    `subprocess` could, too, but it would fork this process, and gRPC's threads do not survive that.
    """
    if os.getuid() != 0:
        return ()
    return "setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"


def _run(command: Sequence[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}: {result.stderr}{result.stdout}"
    return result.stdout.strip()


def _my_name() -> str:
    return getpass.getuser()
