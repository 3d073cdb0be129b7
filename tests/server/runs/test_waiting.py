"""Runs that wait for their session or for a place, on one instance and across two of one database."""

import asyncio
from typing import Any

import grpc
from tests.server.runs.calls import (
    CANCELED,
    FAILED,
    QUEUED,
    SESSION,
    SUCCEEDED,
    Instance,
    answer,
    asked,
    events_of,
    executed,
    gate,
    refused,
    run_of,
    sent,
    status_of,
    until,
)

from penstock.v1.flow_pb2 import InvokeOptions
from penstock_server.config import ServerConfig


class TestQueue:
    async def stream(self, instance: Instance, question: str, **options: Any) -> Any:
        """A run of the session, accepted."""
        call = instance.flows.InvokeStream(
            asked("gated", InvokeOptions(**options), question=question), metadata=sent(session=SESSION)
        )
        await run_of(call)
        return call

    async def test_runs_of_a_session_execute_one_after_the_other(self, one: Instance, second: Instance) -> None:
        first = await self.stream(one, "a")
        await until(lambda: executed() == ["a"])
        next_one = await self.stream(second, "b")
        assert await status_of(one, await run_of(next_one)) == QUEUED
        await asyncio.sleep(0.1)
        assert executed() == ["a"]
        gate("a").set()
        gate("b").set()
        await events_of(first)
        assert (await events_of(next_one))[-1].run_finished.status == SUCCEEDED
        assert executed() == ["a", "b"]

    async def test_a_queued_run_is_told_of_the_one_before(self, one: Instance, second: Instance) -> None:
        first = await self.stream(one, "a")
        await until(lambda: executed() == ["a"])
        waiting = asyncio.create_task(
            answer(second.flows.Invoke(asked("told", question="b"), metadata=sent(session=SESSION)))
        )
        await asyncio.sleep(0.1)
        gate("a").set()
        run = await waiting
        assert run.outputs["answer"] == repr([("user", "a"), ("assistant", "half whole")])
        await events_of(first)

    async def test_a_run_that_is_not_to_wait_is_refused(self, one: Instance, second: Instance) -> None:
        await self.stream(one, "a")
        error = await refused(self.stream(second, "b", on_busy=InvokeOptions.REJECT))
        assert (error.code.name, error.reason) == ("ABORTED", "SESSION_BUSY")

    async def test_an_interrupting_run_takes_the_place_of_the_one_before(self, one: Instance, second: Instance) -> None:
        first = await self.stream(one, "a")
        await events_of(first, until="output_delta")
        second_call = await self.stream(second, "b", on_busy=InvokeOptions.INTERRUPT)
        assert (await events_of(first))[-1].run_finished.status == CANCELED
        gate("b").set()
        assert (await events_of(second_call))[-1].run_finished.status == SUCCEEDED

    async def test_more_than_may_wait_are_refused(self, one: Instance, second: Instance) -> None:
        for question in ("a", "b", "c"):
            await self.stream(one, question)
        error = await refused(self.stream(second, "d"))
        assert (error.code.name, error.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_RUNS")
        assert error.retry_after_s

    async def test_who_waits_too_long_is_told(self, start: Any, one: Instance, config: ServerConfig) -> None:
        short = await start(config.model_copy(update={"queue_wait_s": 0.2}), "short")
        await self.stream(one, "a")
        call = await self.stream(short, "b")
        end = (await events_of(call))[-1].run_finished
        assert (end.status, end.error.code) == (FAILED, grpc.StatusCode.ABORTED.value[0])
        assert executed() == ["a"]


class TestAdmission:
    async def test_runs_beyond_the_limit_wait_and_more_are_refused(self, start: Any, config: ServerConfig) -> None:
        small = await start(config.model_copy(update={"runs_max": 1, "queue_max": 1}), "small")
        first = small.flows.InvokeStream(asked("gated", question="x"), metadata=sent())
        await run_of(first)
        waiting = small.flows.InvokeStream(asked("echo", text="hi"), metadata=sent())
        assert await status_of(small, await run_of(waiting)) == QUEUED
        error = await refused(small.flows.Invoke(asked("echo", text="hi"), metadata=sent()))
        assert (error.reason, error.retry_after_s) == ("TOO_MANY_RUNS", 1.0)
        gate("x").set()
        assert (await events_of(waiting))[-1].run_finished.status == SUCCEEDED
        assert (await events_of(first))[-1].run_finished.status == SUCCEEDED

    async def test_one_user_does_not_take_the_place_of_others(self, start: Any, config: ServerConfig) -> None:
        small = await start(config.model_copy(update={"user_runs_max": 1}), "small")
        first = small.flows.InvokeStream(asked("gated", question="y"), metadata=sent(user="alice"))
        await run_of(first)
        again = small.flows.InvokeStream(asked("echo", text="hi"), metadata=sent(user="alice"))
        assert await status_of(small, await run_of(again)) == QUEUED
        run = await small.flows.Invoke(asked("echo", text="hi"), metadata=sent(user="bob"))
        assert run.status == SUCCEEDED
        gate("y").set()
        assert (await events_of(again))[-1].run_finished.status == SUCCEEDED

    async def test_a_run_that_is_not_stored_waits_as_well(self, start: Any, config: ServerConfig) -> None:
        small = await start(config.model_copy(update={"runs_max": 1}), "small")
        first = small.flows.InvokeStream(asked("gated", question="z"), metadata=sent())
        await run_of(first)
        waiting = asyncio.create_task(
            answer(small.flows.Invoke(asked("echo", InvokeOptions(store=False), text="hi"), metadata=sent()))
        )
        await asyncio.sleep(0.1)
        assert not waiting.done()
        gate("z").set()
        assert (await waiting).status == SUCCEEDED
