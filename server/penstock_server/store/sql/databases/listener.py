"""Hears what PostgreSQL tells on a channel (LISTEN), over a connection that is kept up."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any

import asyncpg
from sqlalchemy import URL

logger = logging.getLogger("penstock.store")

RETRY_PAUSE_S = 1.0
"""How long is waited before the next try to connect."""
PING_S = 30.0
"""How often the connection is asked whether it still lives: nothing else would show that it has died silently."""


class Listener:
    """Listens (see `database.Changes`). While there is no connection, nothing is heard.

    Args:
        options: further arguments of `asyncpg.connect`.
    """

    def __init__(self, url: URL, options: Mapping[str, Any], channel: str) -> None:
        self._options: dict[str, Any] = {
            "host": url.host,
            "port": url.port,
            "user": url.username,
            "password": url.password,
            "database": url.database,
        } | dict(options)
        self._channel = channel
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, timeout_s: float) -> None:
        """See `database.Changes`."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep_listening(), name="penstock-listener")
        if await _within(timeout_s, self._told.wait()):
            self._told.clear()

    async def close(self) -> None:
        """See `database.Changes`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep_listening(self) -> None:
        while True:
            try:
                await self._listen()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                logger.debug("nothing is heard from the store: %s", error)
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _listen(self) -> None:
        """Returns when the connection has ended."""
        ended = asyncio.Event()
        connection = await asyncpg.connect(**self._options, timeout=PING_S)
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(self._channel, self._hear)
            self._told.set()  # what was told before was not heard
            while not await _within(PING_S, ended.wait()):
                await connection.execute("SELECT 1", timeout=PING_S)
        finally:
            connection.terminate()

    def _hear(self, *_: object) -> None:
        self._told.set()


async def _within(timeout_s: float, doing: Awaitable[object]) -> bool:
    """Whether it was done within the time."""
    try:
        await asyncio.wait_for(doing, timeout_s)
    except TimeoutError:
        return False
    return True
