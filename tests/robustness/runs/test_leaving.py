"""Callers leave at once, while others send the same request to the other instance."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.robustness.campaign import faults
from tests.robustness.runs.campaign import Campaign
from tests.robustness.stores import ServerStore

LASTING_S = faults(quick=3, long=300)
LEAVES_S = 0.006
"""About when a call is accepted."""


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
async def test_every_promise_is_kept(tmp_path: Path, database_of: Callable[[str], ServerStore], kind: str) -> None:
    campaign = Campaign(tmp_path, database_of(kind).url, instances=2, given={"leaves_s": LEAVES_S})
    async with campaign.running():
        async with campaign.traffic():
            await asyncio.sleep(LASTING_S)
        found = await campaign.check()
    assert "CANCELED" in {run.status for run in found.runs.values()}, "nobody left in time"
