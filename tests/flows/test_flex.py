"""Folders with a flow.flex.yaml."""

import pytest

from penstock_server.errors import InvalidRequest
from penstock_server.flows.flow import FlowKind
from penstock_server.flows.loader import load
from penstock_server.flows.problems import FlowLoadError


@pytest.mark.parametrize("name", ["flow.flex.yaml", "flow.flex.yml"])
async def test_an_entry_is_a_function_of_the_folder(name, load_folder, run):
    flow = load_folder(
        {
            name: "entry: main:greet\n",
            "main.py": """
                import helper
                async def greet(name: str, times: int = 1) -> str:
                    '''Greets.'''
                    import helper as again
                    return helper.HELLO * times + name
                """,
            "helper.py": "HELLO = 'hi '",
        }
    )
    assert (flow.spec.flow, flow.spec.description) == ("shop", "Greets.")
    assert await run(flow, name="x", times=2) == {"output": "hi hi x"}


async def test_a_class_is_made_once_with_the_values_of_init(load_folder, run, recorder):
    flow = load_folder(
        {
            "flow.flex.yaml": """
                entry: main:Chat
                init:
                  greeting: hello
                  times: {type: int, default: 2}
                  model: {type: string}
                """,
            "main.py": """
                class Chat:
                    made = 0
                    def __init__(self, greeting, times, model="m"):
                        Chat.made += 1
                        self.text = f"{greeting}{times}{model}{Chat.made}"
                    async def __call__(self, question: str, chat_history: list = None):
                        yield self.text
                        yield question
                """,
        }
    )
    assert flow.spec.kind is FlowKind.CHAT
    assert await run(flow, recorder, question="?") == {"answer": "hello2m1?"}
    assert await run(flow, question="!") == {"answer": "hello2m1!"}
    assert recorder.deltas == [{"answer": "hello2m1"}, {"answer": "?"}]


async def test_declared_inputs_complete_the_signature(load_folder, run):
    flow = load_folder(
        {
            "flow.flex.yaml": """
                entry: main:flow
                description: From YAML
                inputs:
                  a: {type: int, description: a number}
                  b: {type: string, default: x}
                outputs: {output: {type: string}}
                """,
            "main.py": "def flow(a, b, c: bool = False):\n    return [a, b, c]\n",
        }
    )
    assert flow.spec.description == "From YAML"
    assert flow.spec.input_schema == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "a number"},
            "b": {"type": "string", "default": "x"},
            "c": {"type": "boolean", "default": False},
        },
        "required": ["a"],
        "additionalProperties": False,
    }
    assert await run(flow, a=1) == {"output": [1, "x", False]}
    with pytest.raises(InvalidRequest):
        await flow.arguments({"a": "one"})


@pytest.mark.parametrize(
    ("yaml", "text"),
    [
        ("entry: main\n", "shop/flow.flex.yaml:1:8: `main` is not of the form module:callable"),
        ("entry: gone:flow\n", "shop/flow.flex.yaml:1:8: there is no module `gone`"),
        ("entry: main:flw\n", "shop/flow.flex.yaml:1:8: `main` has no `flw` (did you mean `flow`?)"),
        ("entry: main:X\n", "shop/flow.flex.yaml:1:8: `main:X` is a int, which cannot be called"),
        ("init: {}\n", "shop/flow.flex.yaml:1:1: the document must be a mapping with an `entry`"),
        ("[]\n", "shop/flow.flex.yaml:1:1: the document must be a mapping with an `entry`"),
        (
            "entry: main:flow\ninputs: {aa: {type: int}}\n",
            "shop/flow.flex.yaml:2:14: input `aa`: the entry has no such parameter (did you mean `a`?)",
        ),
        ("entry: main:Bad\n", "shop/flow.flex.yaml:1:8: `main:Bad` raised ValueError: no"),
        ("entry: main:Dull\n", "shop/flow.flex.yaml:1:8: the class `main:Dull` has no `__call__`"),
        ("entry: broken:flow\n", "shop/flow.flex.yaml:1:8: `broken` raised ZeroDivisionError: division by zero"),
        ("entry: main:odd\n", "shop/flow.flex.yaml:1:8: input `x`: "),
    ],
)
def test_what_is_wrong_is_placed(yaml, text, write):
    write(
        {
            "flow.flex.yaml": yaml,
            "main.py": """
                X = 1
                def flow(a=1): pass
                class Bad:
                    def __init__(self): raise ValueError("no")
                    def __call__(self): pass
                class Dull: pass
                def odd(x: Dull): pass
                """,
            "broken.py": "1 / 0\n",
        }
    )
    with pytest.raises(FlowLoadError) as caught:
        load("shop")
    assert str(caught.value).startswith(text)


ASKS = "def chat(question: str, chat_history: list) -> str:\n    return question\n"
MARKED = f"from penstock.flow import tool\n@tool(history_rounds_max=2)\n{ASKS}"


@pytest.mark.parametrize(
    ("said", "code", "rounds"),
    [("", ASKS, None), ("", MARKED, 2), ("history_rounds_max: 0", ASKS, 0), ("history_rounds_max: 7", MARKED, 7)],
)
def test_a_folder_says_how_many_rounds_it_gets_and_goes_before_its_code(said, code, rounds, load_folder):
    flow = load_folder({"flow.flex.yaml": f"entry: main:chat\n{said}\n", "main.py": code})
    assert flow.spec.history_rounds_max == rounds


@pytest.mark.parametrize("count", ["-1", "1001", "many", "true"])
def test_a_number_of_rounds_that_cannot_be_is_a_problem(count, load_folder):
    with pytest.raises(FlowLoadError, match=r"flow.flex.yaml:2:\d+: .*whole number from 0 to 1000"):
        load_folder({"flow.flex.yaml": f"entry: main:chat\nhistory_rounds_max: {count}\n", "main.py": ASKS})
