"""Tries a database on a server as a store would use it: with its driver, the credentials and a question."""

from sqlalchemy import func, select

from penstock_server.errors import StoreUnavailable
from penstock_server.store.errors import NotConnected
from penstock_server.store.sql.databases.url import parse, shown
from penstock_server.store.sql.store import StoreSettings, database_of


async def probe(address: str, *, timeout_s: float) -> str:
    """The version of the database at an address.

    Args:
        address: as `url.parse` takes it.
        timeout_s: how long connecting may take, and the question after it, in seconds each.

    Raises:
        NotConnected: it cannot be reached, or does not let us in; or it does not answer.
        StoreError: the address is none, its driver is not installed, or its certificate cannot be read.
    """
    url = parse(address)
    settings = StoreSettings(service="", store_pool_size=1, store_timeout_s=timeout_s)
    database = database_of(url, settings, instance=False)
    await database.open()
    try:
        version = str(await database.read(lambda connection: connection.scalar(select(func.version()))))
    except StoreUnavailable as failure:
        raise NotConnected(shown(url), failure.message) from None
    finally:
        await database.close()
    return version.partition(" on ")[0]  # PostgreSQL goes on with how it was compiled
