"""What becomes of exceptions that flow code raises."""

import asyncio
import traceback

import pytest

from penstock.flow import InvalidInput
from penstock_server.errors import FlowFailed, InputRefused, UpstreamUnavailable
from penstock_server.flows.failures import ERROR_BYTES_MAX


def boom():
    raise ValueError("boom")


async def boom_async():
    raise ValueError("boom")


def boom_generator():
    yield "a"
    raise ValueError("boom")


async def boom_async_generator():
    yield "a"
    raise ValueError("boom")


@pytest.mark.parametrize("target", [boom, boom_async, boom_generator, boom_async_generator])
async def test_an_exception_is_a_failure_that_names_the_flow(target, flow_of, run, recorder):
    with pytest.raises(FlowFailed) as caught:
        await run(flow_of(target), recorder)
    failure = caught.value
    assert failure.message == f"flow `{target.__name__}` raised ValueError: boom"
    assert failure.metadata == {"flow": target.__name__}
    assert isinstance(failure.__cause__, ValueError)
    frames = traceback.extract_tb(failure.__cause__.__traceback__)
    assert [frame.name for frame in frames] == [target.__name__], "the user's frames, and none of ours"
    assert len(recorder.deltas) == target.__name__.count("generator")


async def test_the_text_of_exceptions_can_be_kept_from_callers(flow_of, run):
    with pytest.raises(FlowFailed) as caught:
        await run(flow_of(boom, error_text=False))
    assert caught.value.message == "flow `boom` raised ValueError"
    assert str(caught.value.__cause__) == "boom"


async def test_long_and_broken_texts_fit_into_metadata(flow_of, run):
    class Strange(Exception):
        def __str__(self):
            raise RuntimeError

    async def long():
        raise ValueError("é\ud800" * 10**6)

    async def strange():
        raise Strange

    with pytest.raises(FlowFailed) as caught:
        await run(flow_of(long))
    assert len(caught.value.message.encode()) < ERROR_BYTES_MAX + 100
    with pytest.raises(FlowFailed, match=r"raised Strange$"):
        await run(flow_of(strange))


async def test_invalid_input_refuses_the_call_and_names_the_input(flow_of, run):
    def refuse(city: str) -> str:
        raise InvalidInput("no such city", input="city")

    async def refuse_all() -> str:
        raise InvalidInput("not today")

    with pytest.raises(InputRefused) as caught:
        await run(flow_of(refuse), city="x")
    assert caught.value.message == "no such city"
    assert caught.value.violations == (("inputs.city", "no such city"),)
    with pytest.raises(InputRefused) as caught:
        await run(flow_of(refuse_all))
    assert caught.value.violations == ()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("mine"), StopIteration()])
async def test_exceptions_that_mean_something_to_the_loop_are_failures_like_others(error, flow_of, run):
    def blocking():
        raise error

    async def asynchronous():
        raise error

    async def generator():
        yield "a"
        raise error

    for target in (blocking, asynchronous, generator):
        with pytest.raises(FlowFailed, match=target.__name__):
            await run(flow_of(target))


async def test_an_inner_task_that_is_cancelled_fails_the_flow(flow_of, run):
    async def inner():
        task = asyncio.create_task(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    with pytest.raises(FlowFailed, match="CancelledError"):
        await asyncio.wait_for(run(flow_of(inner)), 10)


async def test_failures_of_ours_pass_with_the_flow_added(flow_of, run):
    async def model():
        raise UpstreamUnavailable("no answer", retry_after_s=1)

    with pytest.raises(UpstreamUnavailable) as caught:
        await run(flow_of(model))
    assert caught.value.metadata == {"flow": "model"}


async def test_cancelling_is_no_failure_whatever_the_code_makes_of_it(flow_of, recorder):
    async def plain():
        await asyncio.sleep(60)

    async def translating():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("cancelled") from None

    for target in (plain, translating):
        task = asyncio.create_task(flow_of(target).execute({}, recorder))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_timeout_around_a_run_is_a_timeout(flow_of, recorder):
    async def endless():
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await flow_of(endless).execute({}, recorder)
