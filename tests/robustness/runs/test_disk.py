"""The disk under an SQLite store is full for a while."""

import asyncio
from pathlib import Path

from tests.robustness.campaign import faults
from tests.robustness.runs.campaign import Campaign
from tests.robustness.test_disk_full import on_small_disk, require_small_disk
from tests.service import PENSTOCK

FULL_TIMES = faults(quick=1, long=30)
FULL_S = 2.0
CHUNK = b"x" * 65_536


async def test_every_promise_is_kept(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    require_small_disk(disk)
    program = on_small_disk(disk, *PENSTOCK)
    campaign = Campaign(tmp_path, f"sqlite:///{disk / 'store.db'}", program=program)
    async with campaign.running():
        async with campaign.traffic() as traffic:
            for _ in range(FULL_TIMES):
                await traffic.steady()
                filler = Path(f"/proc/{campaign.instances[0].process}/root{disk}/filler")
                async with campaign.store_out():
                    await _fill(filler, FULL_S)
                    filler.unlink()
            await traffic.steady()
        errors = {request.error for request in campaign.history.requests}
        assert "STORE_UNAVAILABLE" in errors, "nobody met the full disk"
        await campaign.check()


async def _fill(filler: Path, for_s: float) -> None:
    """Takes all the room that there is, and what becomes free, for a while."""
    with filler.open("wb", buffering=0) as file:
        for _ in range(int(for_s / 0.01)):
            for piece in (CHUNK, b"x"):
                try:
                    while True:
                        file.write(piece)
                except OSError:
                    continue
            await asyncio.sleep(0.01)
