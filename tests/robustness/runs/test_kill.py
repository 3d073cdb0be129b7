"""An instance is killed under load, at any moment and at the worst ones."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from tests.robustness.campaign import faults
from tests.robustness.runs.campaign import Campaign
from tests.robustness.runs.faults import PLACES, die_at, figures, kill_and_start
from tests.robustness.runs.instances import LEASE_S
from tests.robustness.stores import Store

KILLS = faults(quick=2, long=60)
PLACES_TRIED = faults(quick=3, long=48)
DELAY_S_MAX = 0.4
TIMES_MAX = 12
TOLD_WITHIN_S = 60.0
"""How late the readers of a dead instance's runs may be told the end. Five seconds are promised where the machine has
nothing else to do; the figure is printed."""


@pytest.mark.parametrize("kind", ["sqlite", "mysql", "postgresql"])
async def test_every_promise_is_kept(tmp_path: Path, store_of: Callable[[str], Store], kind: str) -> None:
    campaign = Campaign(tmp_path, store_of(kind).url, instances=1 if kind == "sqlite" else 2)
    async with campaign.running():
        async with campaign.traffic() as traffic:
            for _ in range(KILLS):
                await traffic.steady()
                await asyncio.sleep(campaign.random.uniform(0, DELAY_S_MAX))
                victim = campaign.random.choice(campaign.instances)
                # It comes back before the others have given it up, or after.
                await kill_and_start(campaign, victim, campaign.random.choice((0.0, LEASE_S + 1.0)))
            await traffic.steady()
        await campaign.check()
    waits = figures(campaign)
    assert waits, "nobody followed a run of a killed instance"
    print(
        f"{kind}: readers of a killed instance's runs were told after {waits[len(waits) // 2]:.2f} to {waits[-1]:.2f} s"
    )
    assert waits[-1] < TOLD_WITHIN_S


@pytest.mark.parametrize("kind", ["sqlite", "mysql", "postgresql"])
async def test_every_promise_is_kept_before_and_after_each_commit(
    tmp_path: Path, store_of: Callable[[str], Store], kind: str
) -> None:
    shared = kind != "sqlite"
    campaign = Campaign(tmp_path, store_of(kind).url, instances=2 if shared else 1)
    places = [place for place in PLACES if shared or not place.startswith(("adoption", "beat"))]
    order = Random(f"{campaign.plan.seed}/{kind}").sample(places, len(places))
    async with campaign.running():
        async with campaign.traffic() as traffic:
            for number in range(PLACES_TRIED):
                await traffic.steady()
                place = order[number % len(order)]
                times = 1 if place.startswith("adoption") else campaign.random.randint(1, TIMES_MAX)
                print(f"{place}, the {times}th time")
                await die_at(campaign, campaign.random.choice(campaign.instances), place, times)
            await traffic.steady()
        await campaign.check()
