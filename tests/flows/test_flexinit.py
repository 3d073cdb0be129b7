"""A flex flow's class is made once, with the values that its document gives it."""

import pytest

from penstock.modelconfig import AzureOpenAIModelConfiguration, OpenAIModelConfiguration
from penstock_server.flows.loader import load
from penstock_server.flows.problems import FlowLoadError

CONNECTIONS = """
    azure: {type: azure_open_ai, api_key: secret, api_base: https://azure.example, api_version: '2024-02-01'}
    open: {type: open_ai, api_key: secret, base_url: https://open.example/v1}
    """
TELLS = """
    from penstock.connections import OpenAIConnection
    class Flow:
        def __init__(self, a=1, b=2, c=3):
            self.values = [a, b, c]
        def __call__(self):
            return [repr(value) if type(value).__module__.startswith("penstock") else value for value in self.values]
    class Connected:
        def __init__(self, connection: OpenAIConnection | None = None, other: "AnyName" = None):
            self.connection = connection
        def __call__(self):
            return self.connection.base_url
    """


@pytest.fixture
def flex(load_folder):
    return lambda yaml: load_folder({"flow.flex.yaml": yaml, "main.py": TELLS, "connections.yaml": CONNECTIONS})


@pytest.mark.parametrize(
    ("yaml", "values"),
    [
        ("", [1, 2, 3]),
        ("init: {a: 10, b: [x]}", [10, ["x"], 3]),
        ("init: {a: {type: round, color: red}}", [{"type": "round", "color": "red"}, 2, 3]),
        ("init: {a: {type: int, default: 7}, b: {type: string}}", [7, 2, 3]),
        ("init: {a: {type: int, default: 7}}\nsample: {init: {a: 8, b: 9}}", [8, 9, 3]),
        ("init: {a: 10}\nsample: {init: {a: 8, b: 9}}", [10, 9, 3]),
    ],
)
async def test_values_of_the_document_go_before_samples_before_defaults(yaml, values, flex, run):
    assert await run(flex(f"entry: main:Flow\n{yaml}\n")) == {"output": values}


async def test_values_may_come_from_the_environment(flex, run, monkeypatch):
    monkeypatch.setenv("WHO", "me")
    yaml = "entry: main:Flow\ninit: {a: '${env:WHO}', b: {c: ['${env:NOBODY:-you}']}}\n"
    assert await run(flex(yaml)) == {"output": ["me", {"c": ["you"]}, 3]}


@pytest.mark.parametrize("init", ["{connection: {type: OpenAIConnection}}", "{connection: open}"])
async def test_a_connection_is_found_by_its_name(init, flex, run):
    sample = "sample: {init: {connection: open}}\n" if "type" in init else ""
    flow = flex(f"entry: main:Connected\ninit: {init}\n{sample}")
    assert await run(flow) == {"output": "https://open.example/v1"}


async def test_a_model_configuration_takes_its_address_from_its_connection(flex, run):
    yaml = """
        entry: main:Flow
        init:
          a: {type: AzureOpenAIModelConfiguration, default: {connection: azure, azure_deployment: gpt}}
          b: {type: OpenAIModelConfiguration, default: {model: gpt, api_key: k, base_url: https://own.example}}
        """
    (azure, openai, _) = (await run(flex(yaml)))["output"]
    expected = AzureOpenAIModelConfiguration("gpt", "https://azure.example", "2024-02-01", "secret")
    assert (azure, openai) == (repr(expected), repr(OpenAIModelConfiguration("gpt", "https://own.example", "k")))
    assert "secret" not in azure


@pytest.mark.parametrize(
    ("init", "place", "text"),
    [
        ("{bb: 1}", "2:12", "`init`: `Flow` takes no `bb` (did you mean `b`?)"),
        ("[a]", "2:7", "`init` must be a mapping of names to values"),
        ("{a: '${env:NOT_SET_HERE}'}", "2:11", "`init`, `a`: the environment variable NOT_SET_HERE is not set"),
        ("{a: {type: OpenAIConnection, default: opn}}", "2:45", "there is no connection `opn` (did you mean `open`?)"),
        ("{a: {type: OpenAIModelConfiguration, default: {}}}", "2:53", "a OpenAIModelConfiguration needs `model`"),
        (
            "{a: {type: OpenAIModelConfiguration, default: {modl: x}}}",
            "2:53",
            "a OpenAIModelConfiguration has no `modl` (did you mean `model`?)",
        ),
        (
            "{a: {type: OpenAIModelConfiguration, default: {model: x, connection: open, api_key: k}}}",
            "2:53",
            "its connection decides about `api_key`",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_placed(init, place, text, write):
    write({"flow.flex.yaml": f"entry: main:Flow\ninit: {init}\n", "main.py": TELLS, "connections.yaml": CONNECTIONS})
    with pytest.raises(FlowLoadError) as caught:
        load("shop")
    assert text in str(caught.value)
    assert str(caught.value).startswith(f"shop/flow.flex.yaml:{place}: ")


async def test_sample_inputs_are_the_schema_s_example(load_folder, write):
    files = {"main.py": "def flow(question: str, n: int = 1): return n\n"}
    yaml = "entry: main:flow\nsample: {inputs: {question: 'why?', n: 2}}\n"
    flow = load_folder({**files, "flow.flex.yaml": yaml})
    assert flow.spec.input_schema["examples"] == [{"question": "why?", "n": 2}]
    files["flow.flex.yaml"] = "entry: main:flow\nsample: {inputs: '${file:sample.json}'}\n"
    files["sample.json"] = '{"question": "x"}'
    assert load_folder(files, name="other").spec.input_schema["examples"] == [{"question": "x"}]


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        ("{inputs: [1]}", "`sample`: must be a mapping"),
        ("{inputs: {question: .nan}}", "`sample` cannot be shown to callers: question: nan is not a JSON number"),
        ("{inputs: ../secret.json}", "`../secret.json` lies outside the flow's folder"),
        ("{inputs: main.py}", "`sample`: must be a mapping"),
        ("{inputs: gone.json}", "`gone.json` cannot be read: No such file"),
        ("{inputs: bad.json}", "`bad.json` is not JSON"),
    ],
)
def test_a_sample_that_cannot_be_shown_is_placed(sample, text, write):
    yaml = f"entry: main:flow\nsample: {sample}\n"
    write({"flow.flex.yaml": yaml, "main.py": "def flow(question: str): return 1\n", "bad.json": "{"})
    with pytest.raises(FlowLoadError, match=r"shop/flow.flex.yaml:2:1\d: ") as caught:
        load("shop")
    assert text in str(caught.value)


async def test_a_sample_does_not_tell_the_environment(load_folder, monkeypatch):
    monkeypatch.setenv("SECRET_OF_TESTS", "hidden")
    yaml = "entry: main:flow\nsample: {inputs: {question: '${env:SECRET_OF_TESTS}'}}\n"
    flow = load_folder({"flow.flex.yaml": yaml, "main.py": "def flow(question: str): return 1\n"})
    assert flow.spec.input_schema["examples"] == [{"question": "${env:SECRET_OF_TESTS}"}]
