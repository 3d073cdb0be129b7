"""The connection to the database is cut after a COMMIT was sent and before its answer comes back."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.robustness.campaign import Campaign, faults
from tests.robustness.proxy import CommitProxy
from tests.robustness.stores import ServerStore
from tests.robustness.wire import Frames, MySqlFrames, PostgreSqlFrames

CUTS = faults(quick=20, long=500)
COMMIT_TIMEOUT_S = 10.0
FRAMES: dict[str, Callable[[], Frames]] = {"mysql": MySqlFrames, "postgresql": PostgreSqlFrames}


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
async def test_no_turn_is_lost_or_doubled(tmp_path: Path, database_of: Callable[[str], ServerStore], kind: str) -> None:
    store = database_of(kind)
    async with CommitProxy(store.server.port, FRAMES[kind]) as proxy:
        campaign = Campaign(tmp_path, store.through(proxy.port))
        async with campaign.service() as service:
            async with campaign.traffic(service) as traffic:
                for _ in range(CUTS):
                    await traffic.steady()
                    await proxy.cut_commit(answered=campaign.random.random() < 0.5, timeout_s=COMMIT_TIMEOUT_S)
                await traffic.steady()
            await campaign.check(service, store.live_runs)
