"""Connections break and are slow: those to the database, and those of the callers."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.robustness.campaign import faults
from tests.robustness.runs.campaign import Campaign
from tests.robustness.runs.network import Network
from tests.robustness.stores import ServerStore

TIMES = faults(quick=2, long=60)
SLOW_S = 0.03
"""How long each piece takes on a slow connection."""


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
async def test_every_promise_is_kept_on_the_way_to_the_database(
    tmp_path: Path, database_of: Callable[[str], ServerStore], kind: str
) -> None:
    store = database_of(kind)
    async with Network(store.server.port) as network:
        campaign = Campaign(tmp_path, store.url, instances=2)
        campaign.stores[1] = store.through(network.port)
        async with campaign.running():
            async with campaign.traffic() as traffic:
                for _ in range(TIMES):
                    await traffic.steady()
                    async with campaign.store_out():
                        await _disturb(network, campaign.random.choice((0.0, 0.5, 1.0)))
                await traffic.steady()
            await campaign.check()


async def test_every_promise_is_kept_on_the_way_to_the_callers(
    tmp_path: Path, database_of: Callable[[str], ServerStore]
) -> None:
    campaign = Campaign(tmp_path, database_of("postgresql").url, instances=2, fronted=True)
    async with campaign.running():
        async with campaign.traffic() as traffic:
            for _ in range(TIMES * 2):
                await traffic.steady()
                await _disturb(campaign.random.choice(campaign.fronts), campaign.random.choice((0.0, 0.3)))
            await traffic.steady()
        await campaign.check()


async def _disturb(network: Network, for_s: float) -> None:
    """Cuts every connection, and lets none be made for a while; then they are slow for as long again."""
    assert network.cut(), "there was no connection to cut"
    network.is_cut = True
    await asyncio.sleep(for_s)
    network.is_cut, network.delay_s = False, SLOW_S
    await asyncio.sleep(max(for_s, 0.3))
    network.delay_s = 0.0
