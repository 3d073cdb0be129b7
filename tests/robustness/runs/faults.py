"""What befalls a service of runs."""

import asyncio
import time
from collections.abc import Sequence

from tests.robustness.runs.campaign import Campaign
from tests.robustness.runs.instances import LEASE_S, Instance

PLACES = [
    f"{write}.{moment}"
    for write in ("acceptance", "start", "appending", "ending", "beat", "adoption")
    for moment in ("committing", "committed")
]
"""Where a process can be ended by itself (`store/sql/failpoints.py`)."""
DEATH_TIMEOUT_S = 15.0
FROZEN_S = 2 * LEASE_S + 0.5
"""Longer than a lease: the others take the runs over."""


async def kill_and_start(campaign: Campaign, victim: Instance, away_s: float) -> None:
    """Ends an instance as a crash would, and starts it again after a while."""
    await victim.kill()
    await asyncio.sleep(away_s)
    await victim.start()


async def freeze(victim: Instance, for_s: float = FROZEN_S) -> None:
    """Has an instance stand still for a while."""
    async with victim.frozen():
        await asyncio.sleep(for_s)


async def die_at(campaign: Campaign, victim: Instance, place: str, times: int) -> None:
    """Kills an instance, lets it live until it dies at a failpoint, and lets it live again."""
    await victim.kill()
    # It may come to the place while it starts: it ends what the life before has left.
    await victim.start({"PENSTOCK_FAILPOINTS": f"{place}=kill@{times}"}, may_die=True)
    others = [each for each in campaign.instances if each is not victim and place.startswith("adoption")]
    for each in others:
        await each.kill()  # there is nothing to take over but from the dead
    await wait_for_death(victim, place)
    await asyncio.gather(*(each.start() for each in (victim, *others)))


async def wait_for_death(victim: Instance, place: str) -> None:
    """Returns when an instance has ended itself."""
    deadline = time.monotonic() + DEATH_TIMEOUT_S
    while victim.is_alive:
        assert time.monotonic() < deadline, f"{place} was never reached"
        await asyncio.sleep(0.005)
    victim.died(time.monotonic())


def figures(campaign: Campaign) -> Sequence[float]:
    """How long after each death of a process its runs' readers were told the end, in seconds."""
    owners = {}
    for effect in campaign.effects():
        owners[effect.run] = effect.process
    deaths = {fault.process: fault.began_s for fault in campaign.history.faults if fault.process}
    waits = []
    for reader in campaign.history.readers:
        if (
            reader.events
            and reader.events[-1].status == "INTERRUPTED"
            and (died := deaths.get(owners.get(reader.run, 0)))
        ):
            waits.append(reader.events[-1].at_s - died)
    return sorted(waits)
