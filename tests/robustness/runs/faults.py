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
DEATH_TIMEOUT_S = 60.0
TAKEN_OVER_TIMEOUT_S = 60.0
"""Who does not get to look at the others for half a lease, as on a busy machine, gives them another lease."""


async def kill_and_start(campaign: Campaign, victim: Instance, away_s: float) -> None:
    """Ends an instance as a crash would, and starts it again after a while."""
    await victim.kill()
    await asyncio.sleep(away_s)
    await victim.start()


async def freeze(campaign: Campaign, victim: Instance) -> None:
    """Has an instance stand still for longer than a lease, until another one has taken its runs over."""
    others = [each for each in campaign.instances if each is not victim]
    before = sum(map(_taken_over, others))
    async with victim.frozen():
        await asyncio.sleep(LEASE_S + 1.0)
        deadline = time.monotonic() + TAKEN_OVER_TIMEOUT_S
        while sum(map(_taken_over, others)) == before:
            assert time.monotonic() < deadline, "nobody took the runs of the frozen instance over"
            await asyncio.sleep(0.1)


def _taken_over(instance: Instance) -> int:
    return instance.service.log().count("are taken over") if instance.service is not None else 0


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
    if victim.service is not None:  # else it was never ready, and that is written down
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
