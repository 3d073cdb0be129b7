"""Graphs whose nodes raise, are cancelled, or return what cannot be used."""

import asyncio
import re

import pytest

from penstock_server.errors import FlowFailed, InputRefused


async def test_a_node_that_raises_fails_the_run_and_cancels_its_siblings(graph, run, recorder):
    flow = graph(
        {
            "fetch": "async def fetch():\n    await asyncio.sleep(0.01)\n    raise ValueError('boom')\n",
            "polite": """
                async def polite():
                    try:
                        await asyncio.sleep(60)
                    finally:
                        print("bye")
                """,
            "blocking": "def blocking():\n    time.sleep(0.2)\n",
            "never {x: '${fetch}'}": "def never(x): pass\n",
        }
    )
    with pytest.raises(FlowFailed) as caught:
        await asyncio.wait_for(run(flow, recorder), 10)
    assert caught.value.message == "node `fetch` raised ValueError: boom"
    assert caught.value.metadata == {"flow": "shop", "node": "fetch"}
    assert isinstance(caught.value.__cause__, ValueError)
    assert {name: str(record.status) for name, record in recorder.records.items()} == {
        "fetch": "FAILED",
        "polite": "CANCELED",
        "blocking": "CANCELED",
    }
    assert recorder.records["fetch"].error is caught.value
    assert recorder.records["polite"].logs == "bye\n"


async def test_cancelling_a_run_cancels_its_nodes_and_runs_their_cleanup(graph, recorder, until):
    flow = graph(
        {
            "talk": """
                async def talk():
                    try:
                        yield "a"
                        await asyncio.sleep(60)
                    finally:
                        print("closed")
                """,
            "block": "def block():\n    time.sleep(0.2)\n",
        },
        outputs="{answer: {reference: '${talk}'}}",
    )
    run = asyncio.create_task(flow.execute({}, recorder))
    await until(lambda: recorder.deltas)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert {str(record.status) for record in recorder.records.values()} == {"CANCELED"}
    assert recorder.records["talk"].logs == "closed\n"
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("node ")]


async def test_a_node_that_ignores_its_cancellation_is_left_behind(graph, recorder, until):
    flow = graph(
        {
            "stubborn": """
                async def stubborn():
                    end = time.monotonic() + 1
                    while time.monotonic() < end:
                        try:
                            await asyncio.sleep(0.01)
                        except asyncio.CancelledError:
                            pass
                """,
        },
        cancel_wait_s=0.05,
    )
    run = asyncio.create_task(flow.execute({}, recorder))
    await until(lambda: recorder.events)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, 10)
    assert recorder.events == ["stubborn started", "stubborn CANCELED"]
    await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "node stubborn"])
    assert recorder.events == ["stubborn started", "stubborn CANCELED"], "it is told once"


@pytest.mark.parametrize(
    "error", ["SystemExit(3)", "KeyboardInterrupt()", "asyncio.CancelledError()", "StopIteration()"]
)
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_exceptions_that_mean_something_to_the_loop_fail_the_node(kind, error, graph, run, recorder):
    flow = graph({"bad": f"{kind} bad():\n    raise {error}\n"})
    with pytest.raises(FlowFailed, match="node `bad` raised"):
        await asyncio.wait_for(run(flow, recorder), 10)
    assert recorder.events == ["bad started", "bad FAILED"]


async def test_a_node_that_cancels_itself_fails(graph, run, recorder):
    flow = graph({"bad": "async def bad():\n    asyncio.current_task().cancel()\n    await asyncio.sleep(1)\n"})
    with pytest.raises(FlowFailed, match="node `bad` raised CancelledError"):
        await asyncio.wait_for(run(flow, recorder), 10)


async def test_a_node_may_refuse_an_input_of_the_flow(graph, run, recorder):
    flow = graph(
        {"check {c: '${inputs.city}'}": "def check(c):\n    raise InvalidInput('no such city', input='city')\n"},
        inputs="{city: {type: string}}",
    )
    with pytest.raises(InputRefused) as caught:
        await run(flow, recorder, city="x")
    assert caught.value.violations == (("inputs.city", "no such city"),)
    assert caught.value.metadata == {"flow": "shop", "node": "check"}


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("${a.output.gone}", "there is no `gone` in an object that has: b"),
        ("${a.output.b[3]}", "there is no `3` in a list of 1"),
        ("${a.output.b.c}", "there is no `c` in a list of 1"),
    ],
)
async def test_a_reference_into_nothing_fails_and_says_where(reference, text, graph, run, recorder):
    node = graph({"a": "def a():\n    return {'b': [1]}\n", f"b {{x: '{reference}'}}": "def b(x): pass\n"})
    with pytest.raises(FlowFailed, match=re.escape(f"node `b`: input `x`: {reference}: {text}")) as caught:
        await run(node, recorder)
    assert caught.value.metadata == {"flow": "shop", "node": "b"}
    assert recorder.events[-1] == "b FAILED"


async def test_an_output_that_is_missing_or_no_json_fails_and_is_named(graph, run, recorder):
    missing = graph({"a": "def a():\n    return {}\n"}, outputs="{o: {reference: '${a.output.x}'}}")
    with pytest.raises(FlowFailed, match=r"output `o`: \$\{a.output.x\}: there is no `x` in an empty object") as caught:
        await run(missing)
    assert caught.value.metadata == {"flow": "shop", "node": "a", "output": "o"}


async def test_a_stream_of_something_else_than_json_fails_its_node(graph, run, recorder):
    flow = graph(
        {"a": "def a():\n    yield 'x'\n    yield b'y'\n"},
        outputs="{o: {reference: '${a}'}}",
    )
    with pytest.raises(FlowFailed, match="output `o`: chunk 2: bytes are not"):
        await run(flow, recorder)
    assert recorder.events == ["a started", "a FAILED"]


async def test_what_follows_a_node_that_swallows_its_cancellation_does_not_start(graph, recorder, until):
    flow = graph(
        {
            "a": """
                async def a():
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        return "all the same"
                """,
            "b {x: '${a}'}": "async def b(x): pass\n",
        }
    )
    run = asyncio.create_task(flow.execute({}, recorder))
    await until(lambda: recorder.events)
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await asyncio.sleep(0.02)
    assert recorder.events == ["a started", "a SUCCEEDED"]
