"""An instance stands still for longer than a lease, and goes on as if nothing had been."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.robustness.campaign import faults
from tests.robustness.runs.campaign import Campaign
from tests.robustness.runs.faults import freeze
from tests.robustness.stores import ServerStore

TIMES = faults(quick=1, long=40)


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
async def test_every_promise_is_kept(tmp_path: Path, database_of: Callable[[str], ServerStore], kind: str) -> None:
    campaign = Campaign(tmp_path, database_of(kind).url, instances=2)
    async with campaign.running():
        async with campaign.traffic() as traffic:
            for _ in range(TIMES):
                await traffic.steady()
                await freeze(campaign, campaign.random.choice(campaign.instances))
            await traffic.steady()
            await asyncio.sleep(0.5)
        await campaign.check()
