"""Makes the calls of a plan at a steady rate."""

import asyncio
import time
from types import TracebackType
from typing import Self

from tests.robustness.runs.callers import Caller, Doors
from tests.robustness.runs.history import History
from tests.robustness.runs.plan import Plan

CALLS_PER_S = 14.0
RUNS_PER_S_MIN = 7.0
EVENTS_PER_S_MIN = 80.0
"""How many runs must be accepted and how many events told before a fault counts for anything. The quick form shares
two cores with other tests."""
WINDOW_S = 1.0
STEADY_TIMEOUT_S = 60.0
UNDER_WAY_MAX = 300
"""More calls than that are not begun: the service is stuck, and the callers' memory has an end."""


class Traffic:
    """Calls a service while its block lasts. Leaving the block waits until every caller has seen the end.

    Args:
        first: the number of the first call in the plan.
    """

    def __init__(self, doors: Doors, history: History, plan: Plan, *, first: int = 1) -> None:
        self._doors = doors
        self._history = history
        self._plan = plan
        self.next = first
        self._calls: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._pacer = asyncio.create_task(self._pace())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        await self._pacer
        if kind is not None:
            for call in self._calls:
                call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        if kind is None and self._failures:
            raise self._failures[0]

    async def steady(self) -> None:
        """Waits until the service works at the rate that is asked for; fails where it never does."""
        deadline = time.monotonic() + STEADY_TIMEOUT_S
        await asyncio.sleep(WINDOW_S)
        while min((rates := self.rates())[0] / RUNS_PER_S_MIN, rates[1] / EVENTS_PER_S_MIN) < 1:
            assert time.monotonic() < deadline, f"only {rates} runs and events a second; {self._history.requests[-3:]}"
            await asyncio.sleep(0.05)

    def rates(self) -> tuple[float, float]:
        """How many runs were accepted and events told in the last `WINDOW_S`, a second."""
        since = time.monotonic() - WINDOW_S
        runs = sum(
            request.accepted_s != float("inf") and request.accepted_s > since for request in self._history.requests
        )
        events = 0
        for reader in self._history.readers:
            for event in reversed(reader.events):
                if event.at_s < since:
                    break
                events += 1
        return runs / WINDOW_S, events / WINDOW_S

    async def _pace(self) -> None:
        due = time.monotonic()
        while not self._stopping:
            if len(self._calls) < UNDER_WAY_MAX:
                call = asyncio.create_task(Caller(self._doors, self._history, self._plan.call(self.next)).call())
                self.next += 1
                self._calls.add(call)
                call.add_done_callback(self._done)
            due = max(due + 1 / CALLS_PER_S, time.monotonic() - WINDOW_S)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _done(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled() and (failure := call.exception()) is not None:
            self._failures.append(failure)
