"""Nodes of blocking code that follow one another: one thread executes them, and nobody can tell."""

import asyncio
import threading

import pytest

from penstock_server.errors import FlowFailed, InputRefused

THREAD = "def {name}(x=None):\n    return [*(x or []), threading.get_ident()]\n"


def chain(*names, code=THREAD):
    """Nodes that each need the one before."""
    needs = ["{}", *(f"{{x: '${{{name}}}'}}" for name in names)]
    return {f"{name} {need}": code.format(name=name) for name, need in zip(names, needs, strict=False)}


async def test_nodes_that_follow_one_another_share_a_thread(graph, run, recorder):
    flow = graph(chain("a", "b", "c"), outputs="{o: {reference: '${c}'}}")
    threads = (await run(flow, recorder))["o"]
    assert len(threads) == 3
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    assert recorder.events == [f"{name} {what}" for name in "abc" for what in ("started", "SUCCEEDED")]


async def test_each_node_has_a_record_of_its_own(graph, run, recorder):
    code = "def {name}(x=0):\n    print('in {name}')\n    return x + 1\n"
    await run(graph(chain("a", "b", "c", code=code)), recorder)
    assert [record.logs for record in recorder.records.values()] == ["in a\n", "in b\n", "in c\n"]
    assert [record.output for record in recorder.records.values()] == [1, 2, 3]
    assert [record.inputs for record in recorder.records.values()] == [{}, {"x": 1}, {"x": 2}]
    times = [time for record in recorder.records.values() for time in (record.start_time, record.end_time)]
    assert times == sorted(times)


async def test_what_a_node_begins_is_told_while_the_thread_goes_on(graph, recorder, until):
    release = threading.shared = threading.Event()  # type: ignore[attr-defined]
    nodes = {
        "a": "def a():\n    return 1\n",
        "b {x: '${a}'}": "def b(x):\n    threading.shared.wait(20)\n    return x\n",
    }
    flow = graph(nodes, outputs="{o: {reference: '${b}'}}")
    run = asyncio.create_task(flow.execute({}, recorder))
    await until(lambda: len(recorder.events) == 3)
    assert recorder.events == ["a started", "a SUCCEEDED", "b started"]
    release.set()
    assert await run == {"o": 1}
    del threading.shared  # type: ignore[attr-defined]


async def test_an_output_is_told_before_the_next_node_ends(graph, recorder, until):
    release = threading.shared = threading.Event()  # type: ignore[attr-defined]
    nodes = {
        "a": "def a():\n    return 1\n",
        "b {x: '${a}'}": "def b(x):\n    threading.shared.wait(20)\n    return x\n",
        "talk": "async def talk():\n    yield 'x'\n",
    }
    outputs = "{first: {reference: '${a}'}, second: {reference: '${b}'}, talk: {reference: '${talk}'}}"
    run = asyncio.create_task(graph(nodes, outputs=outputs).execute({}, recorder))
    await until(lambda: {"first": 1} in recorder.deltas)
    assert not any("second" in delta for delta in recorder.deltas)
    release.set()
    assert await run == {"first": 1, "second": 1, "talk": "x"}
    del threading.shared  # type: ignore[attr-defined]


async def test_the_nodes_after_one_that_fails_do_not_begin(graph, run, recorder):
    nodes = {
        "a": "def a():\n    return 1\n",
        "b {x: '${a}'}": "def b(x):\n    raise ValueError('boom')\n",
        "c {x: '${b}'}": "def c(x):\n    return x\n",
    }
    with pytest.raises(FlowFailed, match="node `b` raised ValueError: boom") as caught:
        await run(graph(nodes), recorder)
    assert caught.value.metadata == {"flow": "shop", "node": "b"}
    frames = []
    trace = caught.value.__cause__.__traceback__
    while trace:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert frames == ["b"], "the user's frames alone"
    assert recorder.events == ["a started", "a SUCCEEDED", "b started", "b FAILED"]
    assert recorder.records["b"].error is caught.value


async def test_a_node_may_refuse_an_input_in_the_middle(graph, run):
    nodes = {"a": "def a():\n    return 1\n", "b {x: '${a}'}": "def b(x):\n    raise InvalidInput('no', input='q')\n"}
    with pytest.raises(InputRefused):
        await run(graph(nodes))


async def test_a_run_that_is_cancelled_begins_no_further_node(graph, recorder, until):
    release = threading.shared = threading.Event()  # type: ignore[attr-defined]
    nodes = {
        "a": "def a():\n    threading.shared.wait(20)\n    return 1\n",
        "b {x: '${a}'}": "def b(x):\n    threading.shared.began = True\n    return x\n",
    }
    flow = graph(nodes)
    run = asyncio.create_task(flow.execute({}, recorder))
    await until(lambda: recorder.events)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, 10)
    assert recorder.events == ["a started", "a CANCELED"]
    release.set()
    await asyncio.sleep(0.05)
    assert recorder.events == ["a started", "a CANCELED"]
    assert not hasattr(release, "began")
    del threading.shared  # type: ignore[attr-defined]


HEAD = """import asyncio
from penstock.flow import tool
async def later():
    await asyncio.sleep(0)
    print("said")
    return "later"
async def talk():
    yield "x"
    print("said")
    yield "y"
def plain():
    yield 1
    print("said")
    yield 2
@tool
def a():
    return """


@pytest.mark.parametrize(("result", "whole"), [("later()", "later"), ("talk()", "xy"), ("plain()", [1, 2])])
async def test_a_function_may_return_what_is_to_be_awaited_or_run(result, whole, load_folder, run, recorder):
    flow = load_folder(
        {
            "flow.dag.yaml": """
                outputs: {o: {reference: "${b}"}}
                nodes:
                - {name: a, type: python, source: {type: code, path: a.py}}
                - {name: b, type: python, source: {type: code, path: b.py}, inputs: {x: "${a}"}}
                """,
            "a.py": f"{HEAD}{result}\n",
            "b.py": "from penstock.flow import tool\n@tool\ndef b(x):\n    return [x]\n",
        }
    )
    assert await run(flow, recorder) == {"o": [whole]}
    assert recorder.records["a"].logs == "said\n", "it is still the node's"
    assert recorder.events == ["a started", "a SUCCEEDED", "b started", "b SUCCEEDED"]
