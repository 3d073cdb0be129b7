"""Who owns a run: instances that die, that were taken for dead, and runs whose end was never stored."""

import asyncio
from typing import Any

import pytest
from tests.server.runs.calls import (
    INTERRUPTED,
    LEASE_S,
    PATIENCE_S,
    SUCCEEDED,
    Instance,
    asked,
    events_of,
    executed,
    gate,
    run_of,
    sent,
    status_of,
    until,
    until_status,
    watch,
)

from penstock.v1.flow_pb2 import InvokeOptions
from penstock_server.runs import lease
from penstock_server.runs.executor import Executor


def silence(instance: Instance) -> None:
    """Lets an instance be as if its process stood still, as far as the others see."""
    for task in instance.server._runs._lease._tasks._live:
        task.cancel()


async def test_runs_of_an_instance_that_is_silent_for_a_lease_are_interrupted(one: Instance, other: Instance) -> None:
    call = one.flows.InvokeStream(asked("gated", question="q"), metadata=sent())
    run = await run_of(call)
    watching = watch(other, run)
    before = await events_of(watching, until="output_delta")
    silence(one)
    async with asyncio.timeout(PATIENCE_S):
        [end] = await events_of(watching)
    assert end.run_finished.status == INTERRUPTED
    assert end.run_finished.lost_after == before[-1].sequence
    assert end.sequence > before[-1].sequence + 1


async def test_an_instance_that_was_taken_for_dead_tells_its_readers_what_the_others_tell(
    one: Instance, other: Instance
) -> None:
    call = one.flows.InvokeStream(asked("gated", question="q"), metadata=sent())
    run = await run_of(call)
    await events_of(call, until="output_delta")
    silence(one)
    await until_status(other, run, INTERRUPTED)
    await one.server._runs._lease._beat()
    [here] = await events_of(call)
    [there] = await events_of(watch(other, run, after=2))
    assert here == there
    assert await status_of(one, run) == INTERRUPTED


async def test_what_a_zombie_still_does_is_not_told(one: Instance, other: Instance) -> None:
    call = one.flows.InvokeStream(asked("gated", question="q"), metadata=sent())
    run = await run_of(call)
    await events_of(call, until="output_delta")
    silence(one)
    await until_status(other, run, INTERRUPTED)
    gate("q").set()
    end = (await events_of(call))[-1]
    assert end.run_finished.status == INTERRUPTED
    assert await status_of(one, run) == INTERRUPTED


async def test_a_queued_run_of_a_dead_instance_waits_at_another(one: Instance, other: Instance) -> None:
    session = "s" * 32
    first = other.flows.InvokeStream(asked("gated", question="a"), metadata=sent(session=session))
    await until(lambda: executed() == ["a"])
    options = InvokeOptions(background=True)
    waiting = await one.flows.Invoke(asked("gated", options, question="b"), metadata=sent(session=session))
    silence(one)
    one.server._runs._queue._look = lambda: None
    await asyncio.sleep(2.5 * LEASE_S)
    gate("a").set()
    gate("b").set()
    await events_of(first)
    assert (await events_of(watch(other, waiting.run)))[-1].run_finished.status == SUCCEEDED
    assert executed() == ["a", "b"]


async def test_an_end_that_was_never_stored_is_interrupted_in_the_end(
    one: Instance, other: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "STRAY_S", 0.0)

    async def forget(self: Executor, run: Any) -> None:
        self._rested(run)

    monkeypatch.setattr(Executor, "_end", forget)
    call = one.flows.Invoke(asked("echo", text="hi"), metadata=sent())
    run = await run_of(call)
    await until(lambda: not one.server._runs.knows(run))
    await one.server._runs._lease._look_for_strays()
    await until_status(other, run, INTERRUPTED)
    call.cancel()
