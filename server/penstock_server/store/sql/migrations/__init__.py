"""Which schema the tables of a service have, and how they get the newest.

Alembic makes the changes (`env.py`, `versions/`). It is imported only where there is something to change: a start that
finds all in place does without.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table

from penstock_server.store.errors import StoreError
from penstock_server.store.sql.database import Dialect
from penstock_server.store.sql.schema import Tables

if TYPE_CHECKING:
    from alembic.config import Config

logger = logging.getLogger("penstock.store")

HEAD = "0002"
"""The newest revision; the last file in `versions/`."""


def current(connection: Connection, tables: Tables) -> str:
    """The revision of the service's tables; empty where there are none."""
    if not inspect(connection).has_table(tables.revision):
        return ""
    return connection.scalar(select(table(tables.revision, column("version_num")).c.version_num)) or ""


def unfit(revision: str, tables: Tables) -> StoreError:
    """Why tables of a revision that is not the newest cannot be used, and what to do."""
    if revision and revision not in known():
        return _newer(revision, tables)
    found = f"of revision {revision}" if revision else "missing"
    return StoreError(
        f"the tables of the service {tables.service!r} are {found}, and revision {HEAD} is needed: "
        "run `penstock db upgrade`, or start without --no-migrate"
    )


def upgrade(connection: Connection, tables: Tables, dialect: Dialect) -> None:
    """Brings the service's tables to the newest revision. Raises StoreError where they are newer than that."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells the names of its plugins
    from alembic import command

    revision = current(connection, tables)
    if revision == HEAD:  # somebody else was quicker
        return
    if revision and revision not in known():
        raise _newer(revision, tables)
    config = _config()
    config.attributes.update(connection=connection, tables=tables, dialect=dialect)
    command.upgrade(config, "head")
    if revision:
        logger.info("the tables of the service %s: from revision %s to %s", tables.service, revision, HEAD)


def known() -> dict[str, str]:
    """Every revision with what it does, the oldest first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config())
    return {each.revision: each.doc for each in reversed(list(script.walk_revisions()))}


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _newer(revision: str, tables: Tables) -> StoreError:
    return StoreError(
        f"the tables of the service {tables.service!r} are of revision {revision}, which this Penstock does not know: "
        "a newer one has migrated them. Use that one, or another database"
    )
