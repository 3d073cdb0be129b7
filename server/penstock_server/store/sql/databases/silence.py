"""Databases that tell nothing of themselves: who wants to know whether something has changed has to look."""

import asyncio


class Silence:
    """Tells nothing (see `database.Changes`)."""

    async def wait(self, timeout_s: float) -> None:
        """See `database.Changes`."""
        await asyncio.sleep(timeout_s)

    async def close(self) -> None:
        """See `database.Changes`."""
