"""How soon readers go on: printed, and bounded so generously that only a defect breaks the bound."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from tests.robustness.runs.campaign import METADATA, Campaign
from tests.robustness.stores import ServerStore

from penstock.v1.flow_pb2 import InvokeRequest
from penstock.v1.flow_pb2_grpc import FlowServiceStub
from penstock.v1.run_pb2 import WatchRunRequest
from penstock.v1.run_pb2_grpc import RunServiceStub

RUNS = 8
LEASE_S = 3.0
ENDED_WITHIN_S, RESUMED_WITHIN_S = 15.0, 3.0
"""Five seconds and 300 ms are promised where the machine has nothing else to do."""
TOKENS, PACE_MS = 400, 25
READ_FIRST = 40
RESUMED_AFTER = 20


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
async def test_how_soon_a_reader_goes_on(tmp_path: Path, database_of: Callable[[str], ServerStore], kind: str) -> None:
    campaign = Campaign(tmp_path, database_of(kind).url, instances=2, lease_s=LEASE_S)
    async with campaign.running():
        runs = await asyncio.gather(*(_begin(campaign, number) for number in range(RUNS)))
        resumed = [await _resume(campaign, run) for run in runs]
        ends = [asyncio.create_task(_end(campaign, run)) for run in runs]
        await asyncio.sleep(0.5)
        killed_s = await campaign.instances[0].kill()
        ended = [end_s - killed_s for end_s in await asyncio.gather(*ends)]
    _show(f"{kind}: first event for who resumes on another instance", resumed)
    _show(f"{kind}: end of the runs of an instance that was killed, lease {LEASE_S:g} s", ended)
    assert max(resumed) < RESUMED_WITHIN_S
    assert max(ended) < ENDED_WITHIN_S


async def _begin(campaign: Campaign, number: int) -> str:
    """Starts a run on the first instance, and leaves it after a few events."""
    request = InvokeRequest(flow="tell")
    request.inputs.update({"question": f"figure {number}", "tokens": TOKENS, "pace_ms": PACE_MS})
    call = FlowServiceStub(campaign.channel(0)).InvokeStream(request, metadata=METADATA)
    run = dict(await call.initial_metadata())["penstock-run-id"]
    async for response in call:
        if response.events[-1].sequence >= READ_FIRST:
            break
    call.cancel()
    return str(run)


async def _resume(campaign: Campaign, run: str) -> float:
    """How long the first event takes on the second instance."""
    asked_s = time.monotonic()
    asked = WatchRunRequest(run=run, after_sequence=RESUMED_AFTER)
    call: Any = RunServiceStub(campaign.channel(1)).WatchRun(asked, metadata=METADATA)
    first = await call.read()
    took_s = time.monotonic() - asked_s
    assert first.events[0].sequence == RESUMED_AFTER + 1
    call.cancel()
    return took_s


async def _end(campaign: Campaign, run: str) -> float:
    """When somebody on the second instance is told the end."""
    call = RunServiceStub(campaign.channel(1)).WatchRun(WatchRunRequest(run=run), metadata=METADATA)
    last = [response.events[-1] async for response in call][-1]
    assert last.HasField("run_finished")
    return time.monotonic()


def _show(what: str, took_s: Sequence[float]) -> None:
    print(f"{what}: median {median(took_s):.3f} s, most {max(took_s):.3f} s")
