"""Who follows a run, and what becomes of one that nobody follows any more."""

import asyncio
from collections.abc import Callable

from penstock_server.errors import StoreUnavailable
from penstock_server.runs.events import OnDisconnect
from penstock_server.runs.run import Run
from penstock_server.runs.tasks import Tasks
from penstock_server.store.store import Store

UNFOLLOWED_BYTES_MAX = 2 * 1024 * 1024
"""How much a run may go on to say while it is not known whether anybody comes back: some 5,000 tokens."""


class Followers:
    """Ends runs whose callers have left.

    Args:
        store: says whether somebody follows a run on another instance; None where nothing is stored.
        grace_s: how long a run that may be resumed goes on when nobody follows it, in seconds.
        end: ends a run.
    """

    def __init__(self, store: Store | None, grace_s: float, end: Callable[[Run], None]) -> None:
        self._store = store
        self._grace_s = grace_s
        self._end = end
        self._tasks = Tasks()

    def joined(self, run: Run) -> None:
        """A call follows the run."""
        run.followers += 1

    def left(self, run: Run, *, caller: bool) -> None:
        """A call follows the run no more.

        Args:
            caller: whether it is the call that the run was accepted for.
        """
        run.followers -= 1
        if run.decided is not None or run.log.ended:
            return
        policy = run.command.on_disconnect
        if caller and (policy is OnDisconnect.CANCEL or (policy is OnDisconnect.LINGER and not run.kept)):
            self._end(run)  # one that is not stored cannot be resumed
        else:
            self.linger(run)

    def linger(self, run: Run) -> None:
        """Gives a run that nobody follows its time to be resumed."""
        if not run.followers and run.command.on_disconnect is OnDisconnect.LINGER:
            run.log.nobody_follows(UNFOLLOWED_BYTES_MAX)
            self._tasks.start(self._linger(run))

    async def close(self) -> None:
        """Ends nothing any more."""
        await self._tasks.cancel()

    async def _linger(self, run: Run) -> None:
        while True:
            await asyncio.sleep(self._grace_s)
            if run.decided is not None or run.log.ended or run.followers:
                return
            if not await self._watched_elsewhere(run):
                self._end(run)
                return

    async def _watched_elsewhere(self, run: Run) -> bool:
        if self._store is None or not self._store.shared or not run.kept:
            return False
        try:
            return await self._store.runs.watched(run.run)
        except StoreUnavailable:
            return True  # nobody can say, and the work is worth more than the wait for the next look
