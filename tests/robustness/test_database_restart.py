"""The database is killed under load, and comes back."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.robustness.campaign import WITHIN_S, Campaign, faults
from tests.robustness.stores import ServerStore
from tests.robustness.traffic import Refusal, Traffic

from penstock.status import Code

RESTARTS = faults(quick=5, long=100)
OUTAGE_S_MIN, OUTAGE_S_MAX = 1.0, 2.5
"""Longer than a call waits for a database that may come back."""
CONNECTIONS_MAX = 16
"""`store_pool_size`."""
ANSWER_TIMEOUT_S = 10.0


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
async def test_calls_fail_clearly_and_succeed_again(
    tmp_path: Path, database_of: Callable[[str], ServerStore], kind: str
) -> None:
    store = database_of(kind)
    campaign = Campaign(tmp_path, store.url)
    async with campaign.service() as service:
        async with campaign.traffic(service) as traffic:
            for _ in range(RESTARTS):
                await traffic.steady()
                await _outage(traffic, store, campaign.random.uniform(OUTAGE_S_MIN, OUTAGE_S_MAX))
            await traffic.steady()
        # A run that was accepted may wait for its turn, or for its end to be stored, until its caller has no more time.
        refused = {(each.code, each.reason) for each in traffic.refusals if not each.accepted}
        assert refused == {(Code.UNAVAILABLE, "STORE_UNAVAILABLE")}
        assert await asyncio.to_thread(store.connections) <= CONNECTIONS_MAX
        await campaign.check(service, store.live_runs)


async def _outage(traffic: Traffic, store: ServerStore, outage_s: float) -> None:
    """Kills the database, starts it again, and waits for the first success."""
    refused_before = len(traffic.refusals)
    await asyncio.to_thread(store.server.kill)
    dead_s = time.monotonic()
    await asyncio.sleep(outage_s)
    await asyncio.to_thread(store.server.start)
    accepts_s = time.monotonic()
    successes = len(traffic.successes_s)
    await traffic.until(
        lambda: len(traffic.successes_s) > successes, ANSWER_TIMEOUT_S, lambda: f"{traffic.refusals[-3:]}"
    )
    refusals = traffic.refusals[refused_before:]
    assert refusals, "no call met the outage"
    assert _slowest([each for each in refusals if each.sent_s > dead_s and not each.accepted]) <= WITHIN_S
    assert traffic.successes_s[successes] - accepts_s <= WITHIN_S


def _slowest(refusals: list[Refusal]) -> float:
    return max((refusal.took_s for refusal in refusals), default=0.0)
