"""Tells the other instances that this one lives, and finds out which of them do not.

An instance is dead for another one that has seen none of its beats for a whole lease. Seen means that it has looked,
regularly: where the store did not answer, or this process did not run for a while, the lease begins anew. So nobody is
declared dead because somebody else was absent, and no clock but the observer's own monotonic one is asked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from penstock_server.errors import StoreUnavailable
from penstock_server.runs.tasks import Tasks
from penstock_server.store.records import Errands, Orphan
from penstock_server.store.store import Leases

logger = logging.getLogger("penstock.runs")

BEATS_PER_LEASE = 3
LOOKS_PER_LEASE = 12
ERRANDS_S = 0.3
"""How often an instance asks what others want of it."""
STRAY_LOOK_S = 15.0
"""How often an instance looks for runs that are its own, and that it does not know."""
STRAY_S = 90.0
"""How long a run must be unknown before it is ended: for longer than the store tries to write all of how one ended."""


class Owner(Protocol):
    """What this instance does with its runs."""

    async def adopt(self, orphan: Orphan) -> None:
        """Ends a run that was taken over, or lets it wait here. Raises StoreUnavailable."""

    def run_errands(self, errands: Errands) -> None:
        """Does what others want."""

    def was_declared_dead(self) -> None:
        """Finds out which runs are still this instance's."""

    def knows(self, run: str) -> bool:
        """Whether the run is at work here."""


class Seen(NamedTuple):
    """A beat, and when it was first seen."""

    beat: int
    since_s: float


class Lease:
    """This instance among the others.

    Args:
        lease_s: how long the beats of an instance may stop before it is dead.
    """

    def __init__(self, leases: Leases, lease_s: float, owner: Owner) -> None:
        self._leases = leases
        self._lease_s = lease_s
        self._owner = owner
        self._orphans: list[Orphan] = []
        """What was taken over, and not seen to yet."""
        self._strays: dict[str, float] = {}
        self._seen: dict[str, Seen] = {}
        self._looked_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()

    async def take_all(self) -> None:
        """Takes over the runs of all others at once: where no other instance can be alive."""
        for instance, beat in (await self._leases.beats()).items():
            await self._take_over(instance, beat)
        self._start(self._look_for_strays, STRAY_LOOK_S)

    async def begin(self) -> None:
        """Makes this instance known, and begins to look after the others. Raises StoreUnavailable."""
        await self._leases.beat()
        self._start(self._beat, self._lease_s / BEATS_PER_LEASE)
        self._start(self._look, self._lease_s / LOOKS_PER_LEASE)
        self._start(self._run_errands, min(ERRANDS_S, self._lease_s / LOOKS_PER_LEASE))
        self._start(self._look_for_strays, STRAY_LOOK_S)

    async def end(self) -> None:
        """Leaves the others; this instance owns no live runs any more."""
        await self._tasks.cancel()
        try:
            await self._leases.retire()
        except StoreUnavailable as failure:
            logger.warning("the other instances could not be told that this one ends: %s", failure.message)

    def _start(self, work: Callable[[], Awaitable[None]], pause_s: float) -> None:
        self._tasks.start(self._repeat(work, pause_s))

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
            self._owner.was_declared_dead()

    async def _run_errands(self) -> None:
        errands = await self._leases.errands()
        if errands.cancel or errands.start:
            self._owner.run_errands(errands)

    async def _look(self) -> None:
        await self._settle()
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
            self._orphans += orphans
            await self._settle()

    async def _settle(self) -> None:
        """Sees to what was taken over; what the store does not let be done is done the next time."""
        orphans, self._orphans = self._orphans, []
        # Together, because the store commits together what comes at the same time.
        outcomes = await asyncio.gather(*map(self._owner.adopt, orphans), return_exceptions=True)
        failed = [(orphan, error) for orphan, error in zip(orphans, outcomes, strict=True) if error is not None]
        self._orphans += [orphan for orphan, _ in failed]
        if failed:
            raise failed[0][1]

    async def _look_for_strays(self) -> None:
        """Ends runs whose end the store would not take for so long that it was given up."""
        await self._settle()
        now = self._loop.time()
        unknown = [run for run in await self._leases.owned() if not self._owner.knows(run)]
        self._strays = {run: self._strays.get(run, now) for run in unknown}
        for run, since_s in self._strays.items():
            if now - since_s >= STRAY_S and (orphan := await self._leases.retake(run)) is not None:
                logger.warning("how run %s ended was never stored; it is interrupted", run)
                self._orphans.append(orphan)
        await self._settle()
