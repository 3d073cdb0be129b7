"""Graphs: how nodes execute, what they get, what they tell, and how they end."""

import asyncio
import threading
from datetime import UTC

import pytest

from penstock_server.errors import FlowFailed, InvalidRequest
from penstock_server.flows.flow import FlowKind, NodeStatus


async def test_values_flow_through_references(graph, run, recorder):
    flow = graph(
        {
            "first {text: '${inputs.text}', times: 2, table: {a: [1]}}": """
                def first(text: str, times: int, table: dict):
                    from types import SimpleNamespace
                    return {"words": [text] * times, "box": SimpleNamespace(size=3), "a b": {"c.d": table["a"]}}
                """,
            "second {words: '${first.output.words}', size: '${first.output.box.size}', "
            "last: '${first.output.words[-1]}'}": """
                def second(words, size, last):
                    return f"{len(words)} {size} {last}"
                """,
        },
        outputs="{all: {reference: '${second}'}, deep: {reference: \"${first.output['a b']['c.d'][0]}\"}, "
        "given: {reference: '${inputs.text}'}, fixed: {reference: 'just ${text}'}}",
        inputs="{text: {type: string}}",
    )
    assert await run(flow, recorder, text="x") == {"all": "2 3 x", "deep": 1, "given": "x", "fixed": "just ${text}"}
    assert recorder.deltas == [{"all": "2 3 x", "deep": 1, "given": "x", "fixed": "just ${text}"}]
    assert recorder.events == ["first started", "first SUCCEEDED", "second started", "second SUCCEEDED"]


async def test_nodes_run_at_once_as_soon_as_their_inputs_exist(graph, run, recorder):
    flow = graph(
        {
            "left": "async def left():\n    await asyncio.sleep(0.05)\n",
            "right": "def right():\n    time.sleep(0.05)\n",
            "after {x: '${left}'}": "async def after(x):\n    pass\n",
            "last {x: '${right}', y: '${after}'}": "async def last(x, y):\n    pass\n",
        }
    )
    await run(flow, recorder)
    assert recorder.events[:2] == ["left started", "right started"]
    assert recorder.events.index("after started") > recorder.events.index("left SUCCEEDED")
    assert recorder.events[-2:] == ["last started", "last SUCCEEDED"]


async def test_independent_blocking_nodes_meet(graph, run):
    meet = "def meet():\n    return threading.meeting.wait(10) >= 0\n"
    share = "threading.meeting = getattr(threading, 'meeting', None) or threading.Barrier(2)\n"
    flow = graph({"a": meet + share, "b": meet + share}, outputs="{a: {reference: '${a}'}, b: {reference: '${b}'}}")
    assert await run(flow) == {"a": True, "b": True}
    del threading.meeting  # type: ignore[attr-defined]


async def test_synchronous_nodes_and_prompts_run_in_threads(load_folder, run):
    flow = load_folder(
        {
            "flow.dag.yaml": """
                outputs: {o: {reference: "${p}"}}
                nodes:
                - {name: a, type: python, source: {type: code, path: a.py}}
                - {name: p, type: prompt, source: {type: code, path: p.jinja2}, inputs: {where: "${a}"}}
                """,
            "a.py": """
                import threading
                from penstock.flow import tool
                @tool
                def a():
                    here = threading.get_ident()
                    return lambda: f"{here} {threading.get_ident()}"
                """,
            "p.jinja2": "{{ where() }}",
        }
    )
    assert str(threading.get_ident()) not in str((await run(flow))["o"]).split()


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_generator_streams_to_the_outputs_that_refer_to_it(kind, graph, run, recorder):
    flow = graph(
        {"talk": f"{kind} talk():\n    for word in 'abc':\n        yield word\n"},
        outputs="{one: {reference: '${talk}'}, two: {reference: '${talk.output}'}, "
        "first: {reference: '${talk.output[0]}'}}",
    )
    assert flow.spec.streaming_outputs == ("one", "two")
    assert await run(flow, recorder) == {"one": "abc", "two": "abc", "first": "a"}
    assert recorder.deltas == [{"one": c, "two": c} for c in "abc"] + [{"first": "a"}]
    assert recorder.records["talk"].output == "abc"


async def test_other_nodes_wait_for_the_whole_of_a_stream(graph, run, recorder):
    flow = graph(
        {
            "talk": "async def talk():\n    yield 'a'\n    await asyncio.sleep(0.01)\n    yield 'b'\n",
            "count {text: '${talk}'}": "def count(text):\n    return len(text)\n",
        },
        outputs="{answer: {reference: '${talk}'}, length: {reference: '${count}'}}",
    )
    assert await run(flow, recorder) == {"answer": "ab", "length": 2}
    assert recorder.deltas == [{"answer": "a"}, {"answer": "b"}, {"length": 2}]
    assert recorder.events == ["talk started", "talk SUCCEEDED", "count started", "count SUCCEEDED"]


async def test_outputs_that_do_not_stream_come_as_soon_as_they_are_known(graph, run, recorder):
    flow = graph(
        {
            "fast": "async def fast():\n    return 1\n",
            "talk": "async def talk():\n    await asyncio.sleep(0.05)\n    yield 'a'\n",
        },
        outputs="{answer: {reference: '${talk}'}, fast: {reference: '${fast}'}, given: {reference: '${inputs.q}'}}",
        inputs="{q: {type: string}}",
    )
    assert await run(flow, recorder, q="x") == {"answer": "a", "fast": 1, "given": "x"}
    assert recorder.deltas == [{"given": "x"}, {"fast": 1}, {"answer": "a"}]


async def test_a_generator_that_no_output_refers_to_is_run_to_its_end(graph, run, recorder):
    flow = graph(
        {
            "talk": "def talk():\n    yield 1\n    yield 2\n",
            "sum {numbers: '${talk}'}": "def sum_(numbers):\n    return sum(numbers)\n",
        },
        outputs="{total: {reference: '${sum}'}}",
    )
    assert flow.spec.streaming_outputs == ()
    assert await run(flow, recorder) == {"total": 3}
    assert recorder.deltas == [{"total": 3}]


async def test_a_reader_without_room_stops_a_streaming_node(graph, make_recorder, until):
    flow = graph(
        {"talk": "def talk():\n    for _ in range(1000):\n        yield 'x'\n"},
        outputs="{answer: {reference: '${talk}'}}",
    )
    recorder = make_recorder(capacity=10)
    run = asyncio.create_task(flow.execute({}, recorder))
    await until(lambda: recorder.waits)
    await asyncio.sleep(0.02)
    assert len(recorder.deltas) == 10
    recorder.make_room()
    assert await run == {"answer": "x" * 1000}


async def test_a_node_starts_once_even_if_what_it_needs_waits_for_a_reader(graph, make_recorder, until):
    flow = graph(
        {
            "a": "async def a():\n    return 1\n",
            "b": "async def b():\n    return 2\n",
            "c {a: '${a}', b: '${b}'}": "async def c(a, b):\n    yield str(a + b)\n",
        },
        outputs="{answer: {reference: '${c}'}, a: {reference: '${a}'}, b: {reference: '${b}'}}",
    )
    recorder = make_recorder(capacity=1)
    run = asyncio.create_task(flow.execute({}, recorder))
    await until(lambda: recorder.waits == 2)
    recorder.make_room()
    assert await run == {"answer": "3", "a": 1, "b": 2}
    assert recorder.events.count("c started") == 1


async def test_prompts_render_as_in_prompt_flow(load_folder, run):
    flow = load_folder(
        {
            "flow.dag.yaml": """
                inputs: {names: {type: list}, html: {type: string, default: "<b>"}}
                outputs: {text: {reference: "${p.output}"}}
                nodes:
                - name: p
                  type: prompt
                  source: {type: code, path: prompts/p.jinja2}
                  inputs: {names: "${inputs.names}", html: "${inputs.html}"}
                """,
            "prompts/p.jinja2": "{% for name in names %}\n- {{name}}\n{% endfor %}\n{{undefined}}{{html}}\n",
        }
    )
    assert await run(flow, names=["a", "b"]) == {"text": "- a\n- b\n<b>\n"}
    assert flow.spec.output_schema["properties"]["text"] == {"type": "string"}


async def test_templates_are_sandboxed(load_folder, run):
    flow = load_folder(
        {
            "flow.dag.yaml": "nodes:\n- {name: p, type: prompt, source: {type: code, path: p.jinja2}}\n",
            "p.jinja2": "{{ ''.__class__.__mro__ }}",
        }
    )
    with pytest.raises(FlowFailed, match="node `p` raised SecurityError"):
        await run(flow)


async def test_inputs_are_typed_by_the_document(graph):
    flow = graph(
        {},
        inputs="{i: {type: int}, d: {type: double, default: 1}, b: {type: bool, default: 'True'}, s: {type: string, "
        "default: yes, description: a word}, l: {type: list, default: '[1]'}, o: {type: object, default: {a: 1}}, "
        "x: {}}",
    )
    bound = await flow.arguments({"i": 3.0, "x": None})
    assert bound == {"i": 3, "d": 1.0, "b": True, "s": "yes", "l": [1], "o": {"a": 1}, "x": None}
    with pytest.raises(InvalidRequest) as caught:
        await flow.arguments({"i": "x", "d": [], "b": 1, "s": None, "l": {}, "o": []})
    assert dict(caught.value.violations) == {
        "inputs.i": "must be an integer, not a string",
        "inputs.d": "must be a number, not a list",
        "inputs.b": "must be true or false, not an integer",
        "inputs.s": "must be a string, not null",
        "inputs.l": "must be a list, not an object",
        "inputs.o": "must be an object, not a list",
        "inputs.x": "is required",
    }
    schema = flow.spec.input_schema
    assert schema["required"] == ["i", "x"]
    assert schema["properties"]["s"] == {"type": "string", "description": "a word", "default": "yes"}


async def test_chat_flows_are_marked_or_named(graph):
    named = graph(
        {"a": "def a(): pass\n"},
        inputs="{question: {type: string}, chat_history: {type: list}}",
        outputs="{answer: {reference: '${a}'}, more: {reference: '${a}'}}",
    ).spec
    assert (named.kind, named.chat_input, named.chat_output, named.chat_history) == (
        FlowKind.CHAT,
        "question",
        "answer",
        "chat_history",
    )
    assert named.input_schema["required"] == ["question"]
    marked = graph(
        {"a": "def a(): pass\n"},
        inputs="{say: {type: string, is_chat_input: true}, past: {type: list, is_chat_history: true}}",
        outputs="{x: {reference: '${a}'}, reply: {reference: '${a}', is_chat_output: true}}",
    ).spec
    assert (marked.kind, marked.chat_input, marked.chat_output, marked.chat_history) == (
        FlowKind.CHAT,
        "say",
        "reply",
        "past",
    )
    plain = graph({}, inputs="{question: {type: string}}").spec
    assert (plain.kind, plain.chat_input) == (FlowKind.STANDARD, "")


async def test_a_record_describes_what_a_node_did(graph, run, recorder):
    flow = graph(
        {
            "first {text: '${inputs.text}'}": """
                def first(text):
                    print("hello", text)
                    return object
                """,
            "second {x: '${first}', y: 3}": "async def second(x, y):\n    return {'y': (y,)}\n",
        },
        inputs="{text: {type: string}}",
    )
    await run(flow, recorder, text="t")
    first, second = recorder.records["first"], recorder.records["second"]
    assert first.inputs == {"text": "t"}
    assert first.output == "<class 'object'>"
    assert first.logs == "hello t\n"
    assert second.inputs == {"x": "<class 'object'>", "y": 3}
    assert second.output == {"y": [3]}
    assert second.logs == ""
    for record in (first, second):
        assert record.status is NodeStatus.SUCCEEDED
        assert record.start_time.tzinfo is UTC
        assert record.end_time is not None
        assert record.end_time >= record.start_time


async def test_literals_and_defaults_are_not_shared_between_runs(graph, run):
    flow = graph(
        {
            "a {items: [1], more: '${inputs.more}'}": """
                def a(items, more):
                    items.append(2)
                    more.append(2)
                    return items + more
                """
        },
        outputs="{o: {reference: '${a}'}}",
        inputs="{more: {type: list, default: [3]}}",
    )
    assert await run(flow) == await run(flow) == {"o": [1, 2, 3, 2]}


async def test_what_the_document_leaves_empty_counts_as_not_given(graph, run):
    flow = graph(
        {"a {x: '', y: null, z: ''}": "def a(z, x=1, y=2):\n    return [x, y, z]\n"}, outputs="{o: {reference: '${a}'}}"
    )
    assert await run(flow) == {"o": [1, 2, ""]}


async def test_nodes_that_no_output_needs_run_too(graph, run, recorder):
    await run(graph({"a": "def a(): pass\n", "b": "def b(): pass\n"}), recorder)
    assert set(recorder.records) == {"a", "b"}


async def test_a_flow_without_nodes_answers_with_its_inputs(graph, run, recorder):
    flow = graph({}, inputs="{q: {type: string}}", outputs="{a: {type: string, reference: '${inputs.q}'}}")
    assert await run(flow, recorder, q="x") == {"a": "x"}
    assert recorder.deltas == [{"a": "x"}]


async def test_one_flow_executes_many_times_at_once(graph, run):
    flow = graph(
        {
            "a {n: '${inputs.n}'}": "def a(n):\n    time.sleep(0.01)\n    return n\n",
            "b {n: '${a}'}": "async def b(n):\n    return n\n",
        },
        outputs="{o: {reference: '${b}'}}",
        inputs="{n: {type: int}}",
        sync_threads_max=3,
    )
    results = await asyncio.gather(*(run(flow, n=number) for number in range(20)))
    assert results == [{"o": number} for number in range(20)]


async def test_outputs_have_the_schema_of_their_type_or_of_their_node(graph):
    schema = graph(
        {
            "a": "def a() -> list[int]:\n    return [1]\n",
            "b": "def b():\n    yield ''\n",
        },
        outputs="{typed: {type: double, reference: '${a}', description: a number}, hinted: {reference: '${a}'}, "
        "inner: {reference: '${a.output[0]}'}, stream: {reference: '${b}'}}",
    ).spec.output_schema
    assert schema["properties"] == {
        "typed": {"type": "number", "description": "a number"},
        "hinted": {"type": "array", "items": {"type": "integer"}},
        "inner": {},
        "stream": {},
    }
    assert schema["required"] == ["typed", "hinted", "inner", "stream"]


async def test_the_outputs_of_all_nodes_together_hold_no_more_than_an_answer_carries(graph, run):
    half = "def {}() -> list:\n    return [0] * 50_000\n"
    flow = graph(
        {name: half.format(name) for name in ("one", "two")},
        outputs="{a: {reference: '${one}'}, b: {reference: '${two}'}}",
    )
    with pytest.raises(FlowFailed, match="output `b`: the whole holds more than 100000 values"):
        await run(flow)
