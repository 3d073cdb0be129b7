"""Runs that are watched, resumed, cancelled, queued and left, on one instance and across two of one database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from tests.server.conftest import FLOWS, METADATA, TOKEN, request

from penstock.errors import PenstockError
from penstock.v1 import flow_pb2_grpc, run_pb2, run_pb2_grpc
from penstock.v1.flow_pb2 import InvokeOptions
from penstock_server.app import Server
from penstock_server.config import ServerConfig
from penstock_server.flows.loader import load_all
from penstock_server.store.sql.databases import url
from penstock_server.store.sql.store import SqlStore, StoreSettings

TARGETS = (
    *(f"chat_flows:{name}" for name in ("told", "gated", "breaks")),
    *(f"server_flows:{name}" for name in ("echo", "endless", "never", "tokens")),
)
SESSION = "s" * 32
PATIENCE_S = 10.0
GRACE_S = 0.4
LEASE_S = 0.6
QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELED, INTERRUPTED = range(1, 7)


class Instance(NamedTuple):
    """A server, and the stubs that call it in process."""

    server: Server
    flows: Any
    runs: Any


@pytest.fixture
def config() -> ServerConfig:
    """Short times."""
    return ServerConfig(
        grpc="127.0.0.1:0",
        drain_s=0.1,
        disconnect_grace_s=GRACE_S,
        lease_s=LEASE_S,
        session_queue_max=2,
        run_log_bytes_max=2**30,
    )


@pytest.fixture
async def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[ServerConfig, str], Awaitable[Instance]]]:
    """Starts instances that share one database, as the workers of a supervisor do."""
    monkeypatch.syspath_prepend(str(FLOWS))
    servers: list[Server] = []

    async def start(config: ServerConfig, name: str) -> Instance:
        settings = StoreSettings(service="test", shared=True)
        store = SqlStore(url.parse(url.file(tmp_path / "store.db")), settings, instance=name)
        await store.open()
        server = Server(config, load_all(TARGETS), [TOKEN], store)
        await server.start()
        servers.append(server)
        channel = server.channel()
        return Instance(server, flow_pb2_grpc.FlowServiceStub(channel), run_pb2_grpc.RunServiceStub(channel))

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
async def one(start: Any, config: ServerConfig) -> Instance:
    """An instance."""
    import chat_flows
    import server_flows

    chat_flows.executed.clear()
    chat_flows.gates.clear()
    server_flows.ended.clear()
    instance: Instance = await start(config, "one")
    return instance


@pytest.fixture
async def other(one: Instance, start: Any, config: ServerConfig) -> Instance:
    """Another instance of the same service."""
    instance: Instance = await start(config, "other")
    return instance


@pytest.fixture(params=["the same instance", "another instance"])
def second(request: pytest.FixtureRequest) -> Instance:
    """Whom the second call goes to: both must behave alike."""
    instance: Instance = request.getfixturevalue("one" if request.param == "the same instance" else "other")
    return instance


def gate(question: str) -> asyncio.Event:
    import chat_flows

    opened: asyncio.Event = chat_flows.gates.setdefault(question, asyncio.Event())
    return opened


def executed() -> list[str]:
    import chat_flows

    return list(chat_flows.executed)


def ended() -> list[str]:
    import server_flows

    return list(server_flows.ended)


def sent(*, session: str = "", user: str = "", key: str = "") -> Any:
    named = (("chat-session-id", session), ("chat-user-id", user), ("idempotency-key", key))
    return (*METADATA, *((name, value) for name, value in named if value))


def asked(flow: str, options: InvokeOptions | None = None, **inputs: object) -> Any:
    message = request(flow, **inputs)
    message.options.CopyFrom(options or InvokeOptions())
    return message


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def run_of(call: Any) -> str:
    """The run of a call that was accepted; raises why it was not."""
    sent = dict(await call.initial_metadata())
    if "penstock-run-id" not in sent:
        await call.read()
    return str(sent["penstock-run-id"])


async def answer(call: Any) -> run_pb2.Run:
    """What a unary call comes to; for a task."""
    run: run_pb2.Run = await call
    return run


async def events_of(call: Any, until: str = "run_finished") -> list[Any]:
    """The events of a stream up to the first of this kind."""
    found: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        while (response := await call.read()) is not grpc.aio.EOF:
            found += response.events
            if found[-1].WhichOneof("event") == until:
                break
    return found


async def refused(call: Any) -> PenstockError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return PenstockError.of_rpc(caught.value)


async def status_of(instance: Instance, run: str) -> int:
    return int((await instance.runs.GetRun(run_pb2.GetRunRequest(run=run), metadata=METADATA)).status)


async def until_status(instance: Instance, run: str, status: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await status_of(instance, run) != status:
            await asyncio.sleep(0.02)


def watch(instance: Instance, run: str, after: int = 0, **more: Any) -> Any:
    return instance.runs.WatchRun(run_pb2.WatchRunRequest(run=run, after_sequence=after, **more), metadata=METADATA)


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
