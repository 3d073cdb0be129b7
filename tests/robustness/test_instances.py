"""Two instances share a database, and neither is killed: the same keys, users and sessions reach both."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.robustness.campaign import Campaign, faults
from tests.robustness.stores import ServerStore

LASTING_S = faults(quick=3, long=120)


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
async def test_a_key_is_executed_once_whichever_instance_it_reaches(
    tmp_path: Path, database_of: Callable[[str], ServerStore], kind: str
) -> None:
    store = database_of(kind)
    campaign = Campaign(tmp_path, store.url)
    async with campaign.service() as service, campaign.service("twin") as twin:
        async with campaign.traffic(service, twin) as traffic:
            await traffic.steady()
            await asyncio.sleep(LASTING_S)
        assert not traffic.refusals
        await campaign.check(service, store.live_runs)
