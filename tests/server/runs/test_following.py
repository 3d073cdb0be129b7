"""Runs that are watched, resumed, listed and repeated, on one instance and across two of one database."""

import asyncio

import grpc
import pytest
from tests.server.conftest import METADATA
from tests.server.runs.calls import (
    FAILED,
    PATIENCE_S,
    SESSION,
    SUCCEEDED,
    Instance,
    asked,
    events_of,
    executed,
    gate,
    refused,
    run_of,
    sent,
    watch,
)

from penstock.v1 import run_pb2


class TestWatching:
    async def test_a_stream_that_was_cut_goes_on_where_it_was(self, one: Instance, second: Instance) -> None:
        call = one.flows.InvokeStream(asked("gated", question="q"), metadata=sent())
        before = await events_of(call, until="output_delta")
        call.cancel()
        resumed = watch(second, await run_of(call), after=before[-1].sequence)
        gate("q").set()
        after = await events_of(resumed)
        assert await resumed.read() is grpc.aio.EOF
        assert [event.sequence for event in before + after] == [1, 2, 3, 4]
        assert after[-1].run_finished.status == SUCCEEDED

    async def test_every_position_of_an_ended_run_gives_what_follows(self, one: Instance, second: Instance) -> None:
        call = one.flows.InvokeStream(asked("tokens", n=5), metadata=sent())
        whole = await events_of(call)
        for position in range(len(whole)):
            told = await events_of(watch(second, await run_of(call), after=position))
            assert told == whole[position:]
        last = await events_of(watch(second, await run_of(call), after=len(whole)))
        assert last == whole[-1:]

    async def test_the_simple_view_leaves_events_out(self, one: Instance, second: Instance) -> None:
        run = await one.flows.Invoke(asked("echo", text="hi"), metadata=sent())
        told = await events_of(watch(second, run.run, view=run_pb2.SIMPLE))
        assert [event.WhichOneof("event") for event in told] == ["output_delta", "run_finished"]

    async def test_a_failed_run_is_told_to_its_end_and_the_watch_ends_well(
        self, one: Instance, second: Instance
    ) -> None:
        call = one.flows.InvokeStream(asked("breaks", question="q"), metadata=sent())
        with pytest.raises(grpc.aio.AioRpcError):
            await events_of(call, until="nothing")
        watching = watch(second, await run_of(call))
        end = (await events_of(watching))[-1].run_finished
        assert (end.status, end.error.code) == (FAILED, grpc.StatusCode.UNKNOWN.value[0])
        assert await watching.read() is grpc.aio.EOF
        assert await watching.code() is grpc.StatusCode.OK

    async def test_an_event_that_cannot_have_been_told_is_refused(self, one: Instance, second: Instance) -> None:
        run = await one.flows.Invoke(asked("echo", text="hi"), metadata=sent())
        error = await refused(watch(second, run.run, after=99).read())
        assert (error.code.name, error.reason) == ("OUT_OF_RANGE", "CURSOR_EXPIRED")

    async def test_a_negative_position_is_refused(self, one: Instance) -> None:
        error = await refused(watch(one, "r", after=-1).read())
        assert error.reason == "INVALID_REQUEST"

    async def test_the_run_id_is_sent_before_the_first_event(self, one: Instance, second: Instance) -> None:
        call = one.flows.InvokeStream(asked("never"), metadata=sent())
        run = await run_of(call)
        watching = watch(second, run, after=1)
        async with asyncio.timeout(PATIENCE_S):
            assert await run_of(watching) == run
        call.cancel()
        watching.cancel()

    async def test_two_streams_of_one_run_tell_the_same(self, one: Instance, other: Instance) -> None:
        call = one.flows.InvokeStream(asked("tokens", n=3000), metadata=sent())
        run = await run_of(call)
        streams = [events_of(call), events_of(watch(one, run)), events_of(watch(other, run))]
        first, here, there = await asyncio.gather(*streams)
        assert [event.sequence for event in first] == list(range(1, 3003))
        assert first == here == there


class TestRepeating:
    async def test_a_repeated_key_follows_the_run_live(self, one: Instance, second: Instance) -> None:
        message = asked("gated", question="q")
        first = one.flows.InvokeStream(message, metadata=sent(key="k"))
        await run_of(first)
        again = second.flows.InvokeStream(message, metadata=sent(key="k"))
        assert await run_of(again) == await run_of(first)
        before = await events_of(again, until="output_delta")
        gate("q").set()
        assert [event.sequence for event in before + await events_of(again)] == [1, 2, 3, 4]
        assert executed() == ["q"]


class TestListing:
    async def test_runs_are_listed_the_newest_first_without_what_is_large(
        self, one: Instance, second: Instance
    ) -> None:
        for text in ("a", "b", "c"):
            await one.flows.Invoke(asked("echo", text=text), metadata=sent(user="alice"))
        await one.flows.Invoke(asked("told", question="q"), metadata=sent(user="bob", session=SESSION))
        page = await second.runs.ListRuns(run_pb2.ListRunsRequest(page_size=2), metadata=METADATA)
        assert [run.flow for run in page.runs] == ["told", "echo"]
        assert not page.runs[0].HasField("outputs")
        rest = await second.runs.ListRuns(
            run_pb2.ListRunsRequest(page_size=5, page_token=page.next_page_token), metadata=METADATA
        )
        assert [run.user for run in rest.runs] == ["alice", "alice"]
        of_session = run_pb2.ListRunsRequest(session=SESSION, status=SUCCEEDED)
        assert len((await second.runs.ListRuns(of_session, metadata=METADATA)).runs) == 1
        assert not (await second.runs.ListRuns(of_session, metadata=sent(user="alice"))).runs
