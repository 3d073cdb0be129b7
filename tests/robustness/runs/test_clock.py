"""The clock of an instance is wrong, and jumps. libfaketime shows it another one; the monotonic clock stays true."""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.robustness.campaign import faults
from tests.robustness.runs.campaign import Campaign
from tests.robustness.stores import ServerStore

JUMPS = faults(quick=3, long=60)
JUMP_S_MAX = 240
"""Well below `resume_window_s`: a run's end has the time of its owner's clock, and its log is kept for so long."""
BETWEEN_S = 1.0


async def test_every_promise_is_kept(tmp_path: Path, database_of: Callable[[str], ServerStore]) -> None:
    clock = tmp_path / "clock"
    _set(clock, 0)
    campaign = Campaign(tmp_path, database_of("postgresql").url, instances=2, env_of_last=_wrong_clock(clock))
    async with campaign.running():
        async with campaign.traffic() as traffic:
            for _ in range(JUMPS):
                await traffic.steady()
                _set(clock, campaign.random.randint(-JUMP_S_MAX, JUMP_S_MAX))
                await asyncio.sleep(BETWEEN_S)
            await traffic.steady()
        found = await campaign.check()
    assert not [run for run in found.runs.values() if run.status == "INTERRUPTED"], "a clock has killed somebody"


def _set(clock: Path, offset_s: int) -> None:
    """Lets the instance's clock show another time. The file is replaced as a whole: it is read at any moment."""
    new = clock.with_suffix(".new")
    new.write_text(f"{offset_s:+d}s\n")
    new.replace(clock)


def _wrong_clock(clock: Path) -> Mapping[str, str]:
    """The environment of a process whose clock the file tells; skips the test where there is no libfaketime."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None or shutil.which("faketime") is None:
        reason = "faketime is not installed; `make test` as root installs it"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
