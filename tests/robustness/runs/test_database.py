"""The database is killed under load and comes back. No run ends for it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.robustness.campaign import faults
from tests.robustness.runs.campaign import Campaign
from tests.robustness.stores import ServerStore

RESTARTS = faults(quick=2, long=60)
OUTAGE_S_MAX = 3.0
"""Longer than a lease: instances that do not reach the store do not take each other for dead."""


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
async def test_every_promise_is_kept_and_no_run_is_interrupted(
    tmp_path: Path, database_of: Callable[[str], ServerStore], kind: str
) -> None:
    store = database_of(kind)
    campaign = Campaign(tmp_path, store.url, instances=2)
    async with campaign.running():
        async with campaign.traffic() as traffic:
            for number in range(RESTARTS):
                await traffic.steady()
                async with campaign.store_out():
                    await asyncio.to_thread(store.server.kill)
                    await asyncio.sleep(OUTAGE_S_MAX if number % 2 else campaign.random.uniform(0, 1.0))
                    await asyncio.to_thread(store.server.start)
            await traffic.steady()
        found = await campaign.check()
    interrupted = [run.run for run in found.runs.values() if run.status == "INTERRUPTED"]
    assert not interrupted, f"runs ended because the database was away: {interrupted}"
