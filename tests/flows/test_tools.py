"""Python nodes: which function is called, with which values, and what becomes of its result."""

import sys

import pytest

from penstock_server.errors import FlowFailed
from penstock_server.flows.problems import FlowLoadError

HEAD = "from penstock.flow import tool\n"
PROVIDER = """
from promptflow.core import ToolProvider, tool


class Adder(ToolProvider):
    made = 0

    def __init__(self, base: int, unit: str = "m"):
        super().__init__()
        Adder.made += 1
        self.base, self.unit = base, unit

    @tool
    def add(self, x: int):
        return [self.base + x, self.unit, Adder.made]
"""


@pytest.fixture
def node(load_folder):
    """A flow of one node `a`, with its inputs as YAML and its file."""

    def make(code, inputs="{}", *, reference="${a}", head=HEAD, source="{type: code, path: a.py}", **files):
        yaml = (
            f"inputs: {{q: {{default: 1}}}}\noutputs: {{o: {{reference: '{reference}'}}}}\nnodes:\n"
            f"- {{name: a, type: python, source: {source}, inputs: {inputs}}}\n"
        )
        return load_folder({"flow.dag.yaml": yaml, "a.py": head + code, **files})

    return make


async def test_a_class_that_holds_a_tool_is_made_once_with_the_literals_that_it_takes(node, run):
    flow = node(PROVIDER, "{x: '${inputs.q}', base: '10'}", head="")
    assert await run(flow, q=1) == {"o": [11, "m", 1]}
    assert await run(flow, q=5) == {"o": [15, "m", 1]}


@pytest.mark.parametrize(
    ("inputs", "code", "text"),
    [
        ("{x: 1}", PROVIDER, "the class of its tool needs the input `base`"),
        ("{x: 1, base: '${inputs.q}'}", PROVIDER, "`base` is for the constructor of its class, and must be a literal"),
        ("{x: 1, base: ten}", PROVIDER, "input `base`: must be an integer, not a string"),
        ("{x: 1, base: 1, bse: 2}", PROVIDER, "has no parameter `bse`"),
        (
            "{x: 1, base: 1}",
            PROVIDER.replace("Adder.made += 1", "raise ValueError('no')"),
            "`Adder` raised ValueError: no",
        ),
        ("{x: 1, base: 1}", PROVIDER + HEAD + "@tool\ndef b(): ...\n", "a.py has 2 functions with @tool: b, Adder.add"),
    ],
)
def test_a_class_that_cannot_be_made_is_a_problem(inputs, code, text, node):
    with pytest.raises(FlowLoadError) as caught:
        node(code, inputs, head="")
    assert text in str(caught.value)


async def test_literals_are_cast_to_the_hints_as_in_prompt_flow(node, run):
    code = """
from enum import Enum
from typing import Any, Dict, List, Optional
class E(str, Enum):
    x = "x"
@tool
def a(i: int, f: float, b: bool, s: str, l: list, e: E, o: Any, u, opt: Optional[int], ls: List[int], d: Dict[str, int],
      word, dflt=3, sdflt="3"):
    return [i, f, b, s, l, e, o, u, opt, ls, d, word, dflt, sdflt]
"""
    inputs = (
        "{i: '3', f: '2', b: 'True', s: 5, l: '[1, 2]', e: x, o: '3', u: '4', opt: '4', ls: '[1]', d: '{\"a\": 1}', "
        "word: hello, dflt: '7', sdflt: '8'}"
    )
    flow = node(code, inputs)
    assert await run(flow) == {"o": [3, 2.0, True, "5", [1, 2], "x", 3, 4, 4, [1], {"a": 1}, "hello", 7, "8"]}


async def test_values_that_are_referred_to_are_not_cast(node, run):
    flow = node("@tool\ndef a(x: str, **more: str):\n    return [x, more]\n", "{x: '${inputs.q}', y: 2}")
    assert await run(flow, q=1) == {"o": [1, {"y": 2}]}


def test_a_literal_that_cannot_be_cast_is_a_problem_in_its_place(node):
    with pytest.raises(FlowLoadError, match=r"flow.dag.yaml:4:73: node `a`: input `x`: must be an integer"):
        node("@tool\ndef a(x: int): ...\n", "{x: many}")


async def test_cast_literals_are_not_shared_between_runs(node, run):
    flow = node("@tool\ndef a(x: list):\n    x.append(2)\n    return x\n", "{x: '[1]'}")
    assert await run(flow) == await run(flow) == {"o": [1, 2]}


async def test_the_fields_of_a_dataclass_are_outputs_of_the_node(node, run):
    code = """
from dataclasses import dataclass
@dataclass
class Total:
    net: int
    lines: list
@tool
def a() -> Total:
    return Total(3, [1, {"x": 2}])
"""
    assert await run(node(code)) == {"o": {"net": 3, "lines": [1, {"x": 2}]}}
    assert await run(node(code, reference="${a.output.net}")) == {"o": 3}
    assert await run(node(code, reference="${a.lines[1].x}")) == {"o": 2}
    with pytest.raises(FlowLoadError, match="node `a` has no output `nett` \\(did you mean `net`\\?\\)"):
        node(code, reference="${a.nett}")


async def test_connections_are_given_by_name(node, run):
    code = """
from promptflow.connections import CustomConnection, OpenAIConnection
from typing import Union
@tool
def a(c: CustomConnection, either: Union[OpenAIConnection, CustomConnection], name: str):
    return [c.address, c.key, c.secrets["key"], type(c).__name__, either.key, name]
"""
    yaml = "mine:\n  type: custom\n  configs: {address: 'http://x'}\n  secrets: {key: s3cret}\n"
    flow = node(code, "{c: mine, either: mine, name: mine}", **{"connections.yaml": yaml})
    assert await run(flow) == {"o": ["http://x", "s3cret", "s3cret", "CustomConnection", "s3cret", "mine"]}


@pytest.mark.parametrize(
    ("hint", "name", "text"),
    [
        ("CustomConnection", "mien", "there is no connection `mien` (did you mean `mine`?)"),
        ("OpenAIConnection", "mine", "`mine` is a CustomConnection, and the tool wants a OpenAIConnection"),
        ("CustomConnection", "[mine]", "it takes the name of a connection"),
    ],
)
def test_a_connection_that_does_not_fit_is_a_problem(hint, name, text, node):
    code = f"from promptflow.connections import {hint}\n@tool\ndef a(c: {hint}): ...\n"
    with pytest.raises(FlowLoadError) as caught:
        node(code, f"{{c: {name}}}", **{"connections.yaml": "mine: {type: custom, secrets: {key: x}}\n"})
    assert text in str(caught.value)


async def test_a_connection_of_the_tools_own_type_has_its_names_and_defaults(node, run):
    code = """
from promptflow.connections import CustomStrongTypeConnection
from promptflow.contracts.types import Secret
class Shop(CustomStrongTypeConnection):
    api_key: Secret
    api_base: str = "http://default"
    region: str = "eu"
@tool
def a(c: Shop):
    return [c.api_key, c.api_base, c.region, type(c).__name__, c.name]
"""
    yaml = "mine:\n  type: custom\n  configs: {region: us}\n  secrets: {api_key: s3cret}\n"
    flow = node(code, "{c: mine}", **{"connections.yaml": yaml})
    assert await run(flow) == {"o": ["s3cret", "http://default", "us", "Shop", "mine"]}


async def test_records_show_no_secrets(node, run, recorder):
    code = "from promptflow.connections import CustomConnection\n@tool\n"
    code += "def a(c: CustomConnection, api_key, deep, max_tokens, again=None):\n    raise ValueError('no')\n"
    inputs = (
        "{c: mine, api_key: s3cret, deep: {Password: s3cret, user: ada, list: [{access_token: s3cret}]}, max_tokens: 5}"
    )
    flow = node(code, inputs, **{"connections.yaml": "mine: {type: custom, secrets: {key: s3cret}}\n"})
    with pytest.raises(FlowFailed, match="node `a` raised ValueError"):
        await run(flow, recorder)
    shown = recorder.records["a"].inputs
    assert "s3cret" not in repr(shown)
    assert (shown["c"], shown["max_tokens"], shown["deep"]["user"]) == ("mine", 5, "ada")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that lists tools, as prompt flow's tool packages do."""
    files = {
        "__init__.py": "",
        "listing.py": """
def list_package_tools():
    return {
        "shouting.tools.shout.shout": {"module": "shouting.tools", "function": "shout", "name": "Shout"},
        "new.id": {"module": "shouting.tools", "class_name": "Loud", "function": "say", "deprecated_tools": ["old.id"]},
    }
""",
        "tools.py": """
from penstock.flow import tool
from penstock_server.flows import shims
shims.install()
from promptflow.core import ToolProvider
from promptflow.contracts.types import PromptTemplate

@tool
def shout(text: str, times: int = 1):
    return text.upper() * times

class Loud(ToolProvider):
    def __init__(self, mark: str):
        super().__init__()
        self.mark = mark
    @tool
    def say(self, text: str):
        return text + self.mark

@tool
def chat(prompt: PromptTemplate, temperature: float = 1.0, **values):
    return [type(prompt).__name__, prompt, temperature, values]
""",
    }
    folder = tmp_path / "site"
    for name, text in files.items():
        (folder / "shouting").mkdir(parents=True, exist_ok=True)
        (folder / "shouting" / name).write_text(text)
    info = folder / "shouting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[package_tools]\nshouting = shouting.listing:list_package_tools\n")
    monkeypatch.syspath_prepend(str(folder))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "shouting"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("tool", "inputs", "output"),
    [
        ("shouting.tools.shout.shout", "{text: '${inputs.q}', times: '2'}", "HIHI"),
        ("shouting.tools.shout", "{text: '${inputs.q}'}", "HI"),
        ("new.id", "{text: '${inputs.q}', mark: '!'}", "hi!"),
        ("old.id", "{text: '${inputs.q}', mark: '!'}", "hi!"),
        ("shouting.tools.Loud.say", "{text: '${inputs.q}', mark: '?'}", "hi?"),
    ],
)
async def test_tools_of_packages_are_found_by_their_listing_or_their_path(tool, inputs, output, package, node, run):
    flow = node("", inputs, source=f"{{type: package, tool: {tool}}}")
    assert await run(flow, q="hi") == {"o": output}


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("shouting.tools.whisper", "`shouting.tools` has no function `whisper`"),
        ("shouting.tools.shout.shuot", "there is no tool `shouting.tools.shout.shuot` (did you mean"),
        ("nowhere.at.all", "there is no tool `nowhere.at.all`"),
        ("whisper", "there is no tool `whisper`"),
    ],
)
def test_a_tool_that_no_package_has_is_a_problem(tool, text, package, node):
    with pytest.raises(FlowLoadError) as caught:
        node("", source=f"{{type: package, tool: {tool}}}")
    assert text in str(caught.value)


CUSTOM = """
outputs: {{o: {{reference: "${{a}}"}}}}
nodes:
- name: a
  type: custom_llm
  source: {{type: package_with_prompt, path: p.jinja2, tool: {tool}}}
  inputs: {{temperature: '0.5', city: Delft}}
"""


async def test_a_custom_llm_gets_its_template_and_the_values_for_it(package, load_folder, run):
    text = "user:\nWhere is {{city}}?\n"
    flow = load_folder({"flow.dag.yaml": CUSTOM.format(tool="shouting.tools.chat"), "p.jinja2": text})
    assert await run(flow) == {"o": ["PromptTemplate", text, 0.5, {"city": "Delft"}]}


@pytest.mark.parametrize(
    ("tool", "template", "text"),
    [
        ("shouting.tools.shout", "x", "`shout` has no parameter of the type PromptTemplate"),
        ("shouting.tools.chat", "x\n{{", "p.jinja2:2: node `a`: not a Jinja2 template"),
    ],
)
def test_a_custom_llm_that_cannot_be_made_is_a_problem(tool, template, text, package, load_folder):
    with pytest.raises(FlowLoadError) as caught:
        load_folder({"flow.dag.yaml": CUSTOM.format(tool=tool), "p.jinja2": template})
    assert text in str(caught.value)


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_generators_that_raise_midway_fail_their_node_and_are_closed(kind, node, run, recorder):
    code = f"""
@tool
{kind} a():
    try:
        yield "x"
        raise ValueError("boom")
    finally:
        print("closed")
"""
    with pytest.raises(FlowFailed, match="node `a` raised ValueError: boom"):
        await run(node(code), recorder)
    assert recorder.deltas == [{"o": "x"}]
    assert recorder.records["a"].logs == "closed\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("float('nan')", "nan is not a JSON number"),
        ("[float('inf')]", "inf is not a JSON number"),
        ("object()", "a value of the type `object` is not a JSON value"),
        ("{1: 2}", "the key 1 is not text"),
        ("2**60", "beyond ±2^53"),
        ("'\\ud800'", "lone surrogate"),
        ("b'x'", "bytes are not a JSON value"),
        ("(lambda x: (x.append(x), x)[1])([])", "nests"),
    ],
)
async def test_a_result_that_is_no_json_names_its_output(value, text, node, run):
    with pytest.raises(FlowFailed, match="output `o`") as caught:
        await run(node(f"@tool\ndef a():\n    return {value}\n"))
    assert text in caught.value.message


async def test_a_package_that_cannot_list_its_tools_is_left_out(package, tmp_path, node, run, caplog):
    broken = tmp_path / "site" / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[package_tools]\nbroken = no_such_module:list_tools\n")
    flow = node("", "{text: '${inputs.q}'}", source="{type: package, tool: shouting.tools.shout.shout}")
    assert await run(flow, q="hi") == {"o": "HI"}
    assert "cannot list its tools: no_such_module:list_tools" in caplog.text
