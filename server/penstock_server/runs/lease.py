"""Tells the other instances that this one lives, and finds out which of them do not.

An instance is dead for another one that has seen none of its beats for a whole lease. Seen means that it has looked,
regularly: where the store did not answer, or this process did not run for a while, the lease begins anew. So nobody is
declared dead because somebody else was absent, and no clock but the observer's own monotonic one is asked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from penstock_server.errors import StoreUnavailable
from penstock_server.store.records import Errands, Orphan
from penstock_server.store.store import Leases

logger = logging.getLogger("penstock.runs")

BEATS_PER_LEASE = 3
LOOKS_PER_LEASE = 6
ERRANDS_S = 0.3
"""How often an instance asks what others want of it."""

Adopt = Callable[[Orphan], Awaitable[None]]


class Seen(NamedTuple):
    """A beat, and when it was first seen."""

    beat: int
    since_s: float


class Lease:
    """This instance among the others.

    Args:
        lease_s: how long the beats of an instance may stop before it is dead.
        adopt: called for each run that is taken over from a dead one.
        errands: called with what others want of this instance.
    """

    def __init__(self, leases: Leases, lease_s: float, *, adopt: Adopt, errands: Callable[[Errands], None]) -> None:
        self._leases = leases
        self._lease_s = lease_s
        self._adopt = adopt
        self._errands = errands
        self._seen: dict[str, Seen] = {}
        self._looked_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[None]] = []

    async def take_all(self) -> None:
        """Takes over the runs of all others at once: where no other instance can be alive."""
        for instance, beat in (await self._leases.beats()).items():
            await self._take_over(instance, beat)

    async def begin(self) -> None:
        """Makes this instance known, and begins to look after the others. Raises StoreUnavailable."""
        await self._leases.beat()
        for each, pause_s in (
            (self._beat, self._lease_s / BEATS_PER_LEASE),
            (self._look, self._lease_s / LOOKS_PER_LEASE),
            (self._run_errands, min(ERRANDS_S, self._lease_s / LOOKS_PER_LEASE)),
        ):
            self._tasks.append(self._loop.create_task(self._repeat(each, pause_s)))

    async def end(self) -> None:
        """Leaves the others; this instance owns no live runs any more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        try:
            await self._leases.retire()
        except StoreUnavailable as failure:
            logger.warning("the other instances could not be told that this one ends: %s", failure.message)

    async def _repeat(self, work: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                await work()
            except StoreUnavailable:
                self._seen.clear()  # the store has logged it
            except Exception:
                logger.exception("looking after other instances failed")

    async def _beat(self) -> None:
        if not await self._leases.beat():
            logger.warning("this instance did not reach the store for a while, and was taken for dead by another one")

    async def _run_errands(self) -> None:
        errands = await self._leases.errands()
        if errands.cancel or errands.start:
            self._errands(errands)

    async def _look(self) -> None:
        now = self._loop.time()
        if now - self._looked_s > self._lease_s / 2:
            self._seen.clear()
        beats = await self._leases.beats()
        self._looked_s = self._loop.time()
        self._seen = {instance: self._first_seen(instance, beat, now) for instance, beat in beats.items()}
        for instance, beat in self._dead(now).items():
            await self._take_over(instance, beat)

    def _first_seen(self, instance: str, beat: int, now: float) -> Seen:
        seen = self._seen.get(instance)
        return seen if seen is not None and seen.beat == beat else Seen(beat, now)

    def _dead(self, now: float) -> Mapping[str, int]:
        return {name: seen.beat for name, seen in self._seen.items() if now - seen.since_s >= self._lease_s}

    async def _take_over(self, instance: str, beat: int) -> None:
        while orphans := await self._leases.adopt(instance, beat):
            logger.warning("instance %s is dead; %d of its runs are taken over", instance, len(orphans))
            for orphan in orphans:
                await self._adopt(orphan)
