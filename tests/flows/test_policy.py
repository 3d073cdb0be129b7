"""`timeout_s` and `retry` of nodes."""

import asyncio
import time

import pytest

from penstock_server.errors import FlowFailed, InputRefused
from penstock_server.flows.dag.policy import Retry

HEAD = "import asyncio, time\nfrom penstock.flow import tool, InvalidInput\ncount = []\n@tool\n"


@pytest.fixture
def node(load_folder):
    """A flow of one node, with an output of its own."""

    def make(code, policy, **settings):
        yaml = (
            "outputs: {o: {reference: '${a}'}}\nnodes:\n"
            f"- {{name: a, type: python, source: {{type: code, path: a.py}}, {policy}}}\n"
        )
        return load_folder({"flow.dag.yaml": yaml, "a.py": HEAD + code}, **settings)

    return make


FAILS_TWICE = """
{kind} a():
    count.append(1)
    if len(count) < 3:
        raise {error}
    return len(count)
"""


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_node_that_fails_is_tried_again(kind, node, run, recorder):
    code = FAILS_TWICE.format(kind=kind, error="ValueError('boom')").lstrip()
    flow = node(code, "retry: {attempts: 3, backoff_s: 0.01}")
    assert await run(flow, recorder) == {"o": 3}
    assert recorder.events == ["a started", "a SUCCEEDED"]
    assert recorder.records["a"].logs.count("failed: ValueError; the next one follows") == 2


async def test_the_last_error_is_the_nodes(node, run, recorder):
    code = FAILS_TWICE.format(kind="def", error="ValueError(f'boom {len(count)}')").lstrip()
    with pytest.raises(FlowFailed, match="node `a` raised ValueError: boom 2") as caught:
        await run(node(code, "retry: {attempts: 2, backoff_s: 0}"), recorder)
    assert isinstance(caught.value.__cause__, ValueError)
    assert "\n" not in recorder.records["a"].logs.strip()


@pytest.mark.parametrize(
    ("on", "error", "attempts"),
    [
        ("[ConnectionError]", "ConnectionRefusedError()", 3),
        ("ConnectionError", "ConnectionRefusedError()", 3),
        ("[builtins.OSError]", "ConnectionRefusedError()", 3),
        ("[ConnectionError]", "ValueError()", 1),
        ("[KeyError, ValueError]", "ValueError()", 3),
        ("[Exception]", "SystemExit()", 1),
        ("[SystemExit]", "SystemExit()", 3),
        ("[Exception]", "InvalidInput('no')", 1),
    ],
)
async def test_only_the_errors_that_are_named_are_worth_another_attempt(on, error, attempts, node, run):
    code = f"def a():\n    count.append(1)\n    if len(count) == 3:\n        return 3\n    raise {error}\n"
    flow = node(code, f"retry: {{attempts: 3, backoff_s: 0, on: {on}}}")
    if attempts == 3:
        assert await run(flow) == {"o": 3}
    else:
        with pytest.raises((FlowFailed, InputRefused)):
            await run(flow)


@pytest.mark.parametrize("code", ["def a():\n    time.sleep(0.5)\n", "async def a():\n    await asyncio.sleep(60)\n"])
async def test_a_node_that_takes_longer_than_its_time_fails(code, node, run, recorder):
    start = time.monotonic()
    with pytest.raises(FlowFailed) as caught:
        await run(node(code, "timeout_s: 0.05"), recorder)
    assert time.monotonic() - start < 10
    assert caught.value.message == "node `a` took longer than 0.05 s (timeout_s)"
    assert caught.value.metadata == {"flow": "shop", "node": "a"}
    assert recorder.events == ["a started", "a FAILED"]


async def test_an_attempt_that_took_too_long_can_be_tried_again(node, run):
    code = (
        "async def a():\n    count.append(1)\n    await asyncio.sleep(0 if count[1:] else 60)\n    return len(count)\n"
    )
    flow = node(code, "timeout_s: 0.1, retry: {attempts: 2, backoff_s: 0, on: [TimeoutError]}")
    assert await run(flow) == {"o": 2}


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_stream_that_takes_too_long_is_closed(kind, node, run, recorder, until):
    pause = "await asyncio.sleep(0.01)" if kind == "async def" else "time.sleep(0.01)"
    code = f"""{kind} a():
    try:
        while True:
            {pause}
            yield "x"
    finally:
        print("closed")
"""
    with pytest.raises(FlowFailed, match=r"took longer than 0\.1 s"):
        await run(node(code, "timeout_s: 0.1"), recorder)
    assert {"o": "x"} in recorder.deltas
    if kind == "async def":
        assert recorder.records["a"].logs == "closed\n"


async def test_what_was_partly_told_is_not_tried_again(node, run, recorder):
    code = "def a():\n    count.append(1)\n    yield f'{len(count)}'\n    raise ValueError('boom')\n"
    with pytest.raises(FlowFailed, match="node `a` raised ValueError: boom"):
        await run(node(code, "retry: {attempts: 3, backoff_s: 0}"), recorder)
    assert recorder.deltas == [{"o": "1"}]


async def test_a_stream_that_fails_before_its_first_chunk_is_tried_again(node, run, recorder):
    code = "def a():\n    count.append(1)\n    if len(count) < 2:\n        raise ValueError\n    yield 'x'\n"
    assert await run(node(code, "retry: {attempts: 2, backoff_s: 0}"), recorder) == {"o": "x"}
    assert recorder.deltas == [{"o": "x"}]


async def test_the_time_of_a_slow_reader_does_not_count(node, make_recorder, until):
    code = "async def a():\n    for _ in range(20):\n        yield 'x'\n"
    flow = node(code, "timeout_s: 0.3")
    recorder = make_recorder(capacity=5)
    run = asyncio.create_task(flow.execute({}, recorder))
    await until(lambda: recorder.waits)
    await asyncio.sleep(0.6)
    recorder.make_room()
    assert await run == {"o": "x" * 20}


async def test_cancelling_the_run_ends_a_pause(node, recorder, until):
    flow = node("def a():\n    raise ValueError\n", "retry: {attempts: 2, backoff_s: 60}")
    run = asyncio.create_task(flow.execute({}, recorder))
    await until(lambda: recorder.events)
    await asyncio.sleep(0.05)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, 10)
    assert recorder.events == ["a started", "a CANCELED"]


def test_pauses_double_up_to_a_minute_and_vary():
    retry = Retry(attempts=20, backoff_s=1)
    for attempt, longest in ((1, 1), (2, 2), (3, 4), (10, 60)):
        assert longest / 2 <= retry.pause_s(attempt) <= longest
