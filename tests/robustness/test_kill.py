"""The server is killed, and started again on the same store."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.robustness.campaign import Campaign, faults
from tests.robustness.stores import Store

KILLS = faults(quick=10, long=300)
DELAY_S_MAX = 0.2


@pytest.mark.parametrize("kind", ["sqlite", "mysql", "postgresql"])
async def test_no_acknowledged_turn_is_lost_or_doubled(
    tmp_path: Path, store_of: Callable[[str], Store], kind: str
) -> None:
    store = store_of(kind)
    campaign = Campaign(tmp_path, store.url)
    for _ in range(KILLS):
        async with campaign.service() as service, campaign.traffic(service) as traffic:
            await traffic.steady()
            await asyncio.sleep(campaign.random.uniform(0, DELAY_S_MAX))
            service.process.kill()
            service.process.wait()
    async with campaign.service() as service:
        async with campaign.traffic(service) as traffic:
            await traffic.steady()
        await campaign.check(service, store.live_runs)
