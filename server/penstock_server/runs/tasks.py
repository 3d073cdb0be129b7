"""Tasks that go on behind their callers' backs: they are kept until they end, and can be cancelled together."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """The tasks of one owner. Without a reference, the event loop might let one be collected before it ends."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._live: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Lets work go on by itself."""
        task = self._loop.create_task(work)
        self._live.add(task)
        task.add_done_callback(self._live.discard)

    async def cancel(self) -> None:
        """Cancels those that go on, and waits for their end."""
        live = tuple(self._live)
        for task in live:
            task.cancel()
        if live:
            await asyncio.wait(live)
