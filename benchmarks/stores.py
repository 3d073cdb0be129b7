"""Where the subjects that store something store it: each in a store of its own."""

from contextlib import ExitStack
from pathlib import Path

NO_STORE = "no store"
SQLITE = "SQLite"
MARIADB = "MariaDB"
POSTGRESQL = "PostgreSQL"
DATABASE = "bench"


def address(name: str, folder: Path, stack: ExitStack) -> str:
    """The address of an empty store, for `--store`. A database's server lives as long as the stack.

    It commits to the disk as it would anywhere, on the core where the load is made.
    """
    if name == NO_STORE:
        return "none"
    if name == SQLITE:
        return f"sqlite:///{folder / 'chat_history.db'}"
    from tests import databases  # here, for it needs pytest, which the other benchmarks do not

    kinds: dict[str, type[databases.DatabaseServer]] = {MARIADB: databases.MariaDb, POSTGRESQL: databases.PostgreSql}
    return stack.enter_context(databases.running(kinds[name], durable=True)).create(DATABASE)
