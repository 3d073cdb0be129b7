"""A call that repeats an earlier one by its idempotency key: it gets that run, and executes nothing."""

import asyncio
from collections.abc import Awaitable, Callable

from penstock_server.errors import RunInterrupted, StoreUnavailable
from penstock_server.runs.events import OutputDelta, RunStarted
from penstock_server.runs.run import Run
from penstock_server.store.records import RunRecord

POLL_S = 0.2
"""How often a run that another instance executes is looked at."""

Find = Callable[[str], Awaitable[RunRecord | None]]


async def follow(run: Run, find: Find, wait_local: Callable[[str], Awaitable[bool]]) -> None:
    """Waits for the end of the run that was accepted before, and then tells it as this call's own.

    Args:
        run: stands for that run in this call.
        find: reads a stored run.
        wait_local: waits for the end of a run if this instance executes it; whether it does.
    """
    try:
        record = await find(run.run)
        while record is not None and not record.status.terminal:
            if not await wait_local(run.run):
                await asyncio.sleep(POLL_S)
            record = await find(run.run)
    except StoreUnavailable as failure:
        run.unrecorded(failure)
        return
    if record is None:
        text = "the run of this Idempotency-Key was taken back or erased; send the request again with a new key"
        run.unrecorded(RunInterrupted(text, metadata={"run": run.run}))
        return
    tell(run, record)


def tell(run: Run, record: RunRecord) -> None:
    """Lets a run end as the record says, with its outputs in one piece."""
    run.create_time, run.start_time = record.create_time, record.start_time
    run.nodes, run.outputs = list(record.nodes), record.outputs
    run.log.append(RunStarted(record.run, record.flow, record.session, record.create_time))
    if record.outputs:
        run.log.append(OutputDelta(record.outputs))
    run.decide(record.status, record.error)
    run.end_time = record.end_time
    run.finished()
