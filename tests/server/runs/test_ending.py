"""Runs whose callers leave, and runs that are cancelled, on one instance and across two of one database."""

import asyncio

from tests.server.conftest import METADATA
from tests.server.runs.calls import (
    CANCELED,
    GRACE_S,
    PATIENCE_S,
    RUNNING,
    SESSION,
    SUCCEEDED,
    Instance,
    asked,
    ended,
    events_of,
    executed,
    gate,
    refused,
    run_of,
    sent,
    status_of,
    until,
    until_status,
    watch,
)

from penstock.v1 import run_pb2
from penstock.v1.flow_pb2 import InvokeOptions


class TestLeaving:
    async def test_a_stream_that_nobody_resumes_is_cancelled_after_the_grace(self, one: Instance) -> None:
        call = one.flows.InvokeStream(asked("gated", question="q"), metadata=sent())
        run = await run_of(call)
        await events_of(call, until="output_delta")
        call.cancel()
        await asyncio.sleep(GRACE_S / 4)
        assert await status_of(one, run) == RUNNING
        await until_status(one, run, CANCELED)
        record = await one.runs.GetRun(run_pb2.GetRunRequest(run=run), metadata=METADATA)
        assert dict(record.outputs) == {"answer": "half "}

    async def test_a_run_that_somebody_watches_goes_on(self, one: Instance, second: Instance) -> None:
        call = one.flows.InvokeStream(asked("gated", question="q"), metadata=sent())
        run = await run_of(call)
        watching = watch(second, run)
        await events_of(watching, until="output_delta")
        call.cancel()
        await asyncio.sleep(3 * GRACE_S)
        gate("q").set()
        assert (await events_of(watching))[-1].run_finished.status == SUCCEEDED

    async def test_a_unary_call_that_is_left_is_cancelled_at_once(self, one: Instance) -> None:
        call = one.flows.Invoke(asked("never"), metadata=sent())
        await run_of(call)
        call.cancel()
        await until(lambda: ended() == ["never"])

    async def test_a_run_that_is_not_stored_is_cancelled_at_once(self, one: Instance) -> None:
        call = one.flows.InvokeStream(asked("endless", InvokeOptions(store=False)), metadata=sent())
        await call.read()
        call.cancel()
        await until(lambda: ended() == ["endless"])

    async def test_a_run_that_nobody_follows_does_not_fill_the_store(self, one: Instance) -> None:
        call = one.flows.InvokeStream(asked("endless"), metadata=sent())
        run = await run_of(call)
        await call.read()
        call.cancel()
        await until_status(one, run, CANCELED)
        told = await events_of(watch(one, run))
        assert len(told) < 6000

    async def test_a_background_run_goes_on_by_itself(self, one: Instance, second: Instance) -> None:
        run = await one.flows.Invoke(asked("gated", InvokeOptions(background=True), question="q"), metadata=sent())
        assert run.status == RUNNING
        await asyncio.sleep(2 * GRACE_S)
        gate("q").set()
        assert (await events_of(watch(second, run.run)))[-1].run_finished.status == SUCCEEDED

    async def test_a_stream_takes_no_background(self, one: Instance) -> None:
        call = one.flows.InvokeStream(asked("echo", InvokeOptions(background=True)), metadata=sent())
        assert [field for field, _ in (await refused(call.read())).violations] == ["options.background"]

    async def test_a_background_run_must_be_stored(self, one: Instance) -> None:
        options = InvokeOptions(background=True, store=False)
        error = await refused(one.flows.Invoke(asked("echo", options), metadata=sent()))
        assert [field for field, _ in error.violations] == ["options.background"]


class TestCancelling:
    async def cancel(self, instance: Instance, run: str) -> run_pb2.Run:
        canceled: run_pb2.Run = await instance.runs.CancelRun(
            run_pb2.CancelRunRequest(run=run), metadata=METADATA, timeout=PATIENCE_S
        )
        return canceled

    async def test_a_cancel_that_returned_has_stopped_the_work(self, one: Instance, second: Instance) -> None:
        call = one.flows.InvokeStream(asked("endless"), metadata=sent())
        run = await run_of(call)
        await call.read()
        canceled = await self.cancel(second, run)
        assert canceled.status == CANCELED
        assert ended() == ["endless"]
        told = await events_of(watch(second, run))
        assert told[-1].run_finished.status == CANCELED

    async def test_a_cancel_waits_for_the_flow_to_clean_up(self, one: Instance, second: Instance) -> None:
        run = await run_of(one.flows.InvokeStream(asked("cleans", seconds=0.5), metadata=sent()))
        await asyncio.sleep(0.05)  # it has begun
        assert (await self.cancel(second, run)).status == CANCELED
        assert ended() == ["cleans"]

    async def test_a_second_cancel_returns_the_same(self, one: Instance, second: Instance) -> None:
        run = await run_of(one.flows.InvokeStream(asked("gated", question="q"), metadata=sent()))
        assert await self.cancel(one, run) == await self.cancel(second, run)

    async def test_a_run_that_has_ended_stays_as_it_is(self, one: Instance, second: Instance) -> None:
        run = await one.flows.Invoke(asked("echo", text="hi"), metadata=sent())
        assert await self.cancel(second, run.run) == run

    async def test_a_run_that_waits_is_cancelled_too(self, one: Instance, second: Instance) -> None:
        one.flows.InvokeStream(asked("gated", question="a"), metadata=sent(session=SESSION))
        await until(lambda: executed() == ["a"])
        waiting = await run_of(one.flows.InvokeStream(asked("gated", question="b"), metadata=sent(session=SESSION)))
        assert (await self.cancel(second, waiting)).status == CANCELED
        assert executed() == ["a"]

    async def test_what_is_not_there_and_what_is_anothers_are_the_same(self, one: Instance, second: Instance) -> None:
        run = await run_of(one.flows.InvokeStream(asked("gated", question="q"), metadata=sent(user="alice")))
        for method, message in (
            (second.runs.CancelRun, run_pb2.CancelRunRequest),
            (second.runs.GetRun, run_pb2.GetRunRequest),
        ):
            foreign = await refused(method(message(run=run), metadata=sent(user="bob")))
            missing = await refused(method(message(run="r" * len(run)), metadata=sent(user="bob")))
            assert (foreign.reason, foreign.message) == (
                "RUN_NOT_FOUND",
                missing.message.replace("r" * len(run), run),
            )
        assert await status_of(one, run) == RUNNING
