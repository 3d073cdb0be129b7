"""Where the subjects that store something store it: each in a store of its own."""

from contextlib import ExitStack
from pathlib import Path

from benchmarks.process import Process

NO_STORE = "no store"
SQLITE = "SQLite"
MARIADB = "MariaDB"
POSTGRESQL = "PostgreSQL"
DATABASE = "bench"


def empty(name: str, folder: Path, stack: ExitStack) -> tuple[str, tuple[Process, ...]]:
    """An empty store: its address for `--store`, and the process that serves it, which lives as long as the stack.

    It commits to the disk as it would anywhere.
    """
    if name == NO_STORE:
        return "none", ()
    if name == SQLITE:
        return f"sqlite:///{folder / 'chat_history.db'}", ()
    from tests import databases  # here, for it needs pytest, which the other benchmarks do not

    kinds: dict[str, type[databases.DatabaseServer]] = {MARIADB: databases.MariaDb, POSTGRESQL: databases.PostgreSql}
    server = stack.enter_context(databases.running(kinds[name], durable=True))
    assert server.process is not None
    return server.create(DATABASE), (Process(role="database", child=server.process, log=server.folder / "log"),)
