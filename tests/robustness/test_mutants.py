"""The checker finds out about services that break their promises."""

from collections.abc import Callable
from pathlib import Path

from tests.robustness.campaign import Campaign, launcher
from tests.robustness.checker import violations
from tests.robustness.stores import ServerStore, SqliteStore

KILLS = 3
TIMEOUT_S = 20.0


async def test_an_acknowledgement_before_the_commit_is_found(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    campaign = Campaign(tmp_path, store.url, program=launcher("tests.robustness.mutants"))
    for _ in range(KILLS):
        async with campaign.service() as service, campaign.traffic(service) as traffic:
            await traffic.steady()
            service.process.kill()
            service.process.wait()
    async with campaign.service() as service:
        found = await campaign.found(service)
    assert "lost" in {sentence.partition(":")[0] for sentence in violations(campaign.ledger, found)}


async def test_a_store_without_its_unique_key_is_found(
    tmp_path: Path, database_of: Callable[[str], ServerStore]
) -> None:
    store = database_of("postgresql")
    campaign = Campaign(tmp_path, store.url)
    # One instance alone would not need the key: it writes one group after the other.
    async with campaign.service() as service, campaign.service("twin") as twin:
        store.drop_unique_keys()
        async with campaign.traffic(service, twin) as traffic:
            await traffic.until(lambda: _said_twice(campaign), TIMEOUT_S, lambda: "no request was executed twice")
        found = await campaign.found(service)
    assert "repeated" in {sentence.partition(":")[0] for sentence in violations(campaign.ledger, found)}


def _said_twice(campaign: Campaign) -> bool:
    return any(len(turn.runs) > 1 for turn in campaign.ledger.turns)
