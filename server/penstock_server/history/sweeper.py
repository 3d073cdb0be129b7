"""Removes what is past its time, now and then."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import uniform
from typing import TypeVar

from penstock_server.errors import SearchTimeout, StoreUnavailable
from penstock_server.store.records import Erased
from penstock_server.store.store import Retention

logger = logging.getLogger("penstock.server")

Count = TypeVar("Count", int, Erased)

JITTER = 0.2
"""By which part an interval is longer or shorter, so that instances do not sweep all at once."""
LOG_INTERVAL_S = 20.0
"""How often the logs of ended runs are looked through: they are what fills the disk quickest."""
BREATH_S = 0.05
"""How long writers have the database to themselves between two batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """What is kept, and how often it is looked; `config.py` says what the fields mean."""

    history_keep_days: int
    idempotency_window_s: float
    resume_window_s: float
    sweep_interval_s: float


class Sweeper:
    """Sweeps in the background, from `start` until `stop`."""

    def __init__(self, retention: Retention, settings: SweepSettings) -> None:
        self._retention = retention
        self._settings = settings
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to sweep, the first time at once."""
        intervals = {self._sweep: self._settings.sweep_interval_s, self.sweep_logs: LOG_INTERVAL_S}
        self._tasks = [asyncio.create_task(_repeat_at(*each), name="penstock-sweeper") for each in intervals.items()]

    async def stop(self) -> None:
        """Returns once nothing is swept any more; a batch under way is committed or not at all."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def sweep(self) -> Erased:
        """Removes all that is past its time, batch by batch; returns how much that was.

        Raises:
            StoreUnavailable: the database does not answer.
            SearchTimeout: what there is cannot be looked through in time.
        """
        settings, now = self._settings, datetime.now(UTC)
        before = now - timedelta(seconds=settings.idempotency_window_s)
        await _repeat(lambda: self._retention.forget_idempotency_keys(before), 0)
        return await _repeat(lambda: self._retention.expire(now, settings.history_keep_days), Erased())

    async def sweep_logs(self) -> None:
        """Removes the logs of runs that can be resumed no more, batch by batch.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        await _repeat(lambda: self._retention.expire_logs(self._settings.resume_window_s), 0)

    async def _sweep(self) -> None:
        erased = await self.sweep()
        if erased != Erased():
            logger.info("past their time and removed: %s", erased)


async def _repeat_at(sweep: Callable[[], Awaitable[None]], interval_s: float) -> None:
    while True:
        try:
            await sweep()
        except (StoreUnavailable, SearchTimeout) as failure:
            logger.warning("nothing was swept: %s", failure.message)
        except Exception:
            # What is wrong with a sweep is wrong with no call.
            logger.exception("a sweep failed; there will be another")
        await asyncio.sleep(interval_s * uniform(1 - JITTER, 1 + JITTER))  # noqa: S311


async def _repeat(batch: Callable[[], Awaitable[Count]], nothing: Count) -> Count:
    """Executes batches until one does nothing; returns what they did together."""
    total = nothing
    while (done := await batch()) != nothing:
        total += done
        await asyncio.sleep(BREATH_S)
    return total
