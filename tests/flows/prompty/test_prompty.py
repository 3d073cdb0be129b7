"""A `*.prompty` file is a flow: its template is rendered, its model answers, and callers get the answer."""

import asyncio
import base64

import pytest

from penstock_server.errors import FlowFailed, InvalidRequest, ModelRefused
from penstock_server.flows.flow import FlowKind
from penstock_server.flows.loader import load
from penstock_server.flows.media.hints import SAMPLE_IMAGE
from penstock_server.flows.problems import FlowLoadError

CHAT = """
    ---
    name: Greeter
    description: Greets people.
    model:
      api: chat
      response: {response}
      configuration:
        type: openai
        model: {model}
        api_key: ${{env:TEST_MODEL_KEY}}
        base_url: ${{env:TEST_MODEL_URL}}
      parameters: {{{parameters}}}
    inputs: {{{inputs}}}
    {more}
    ---
    system:
    Greet {{{{ name }}}}.

    user:
    {{{{ name }}}} says hello
    """


def chat(model="echo", response="first", parameters="", inputs="name: {type: string}", more=""):
    return CHAT.format(model=model, response=response, parameters=parameters, inputs=inputs, more=more)


@pytest.fixture
def prompty(load_folder, server):
    """Loads a prompty with a few words of its front matter changed."""

    def make(**words):
        return load_folder({"greeter.prompty": chat(**words)})

    return make


def test_the_front_matter_says_how_many_rounds_the_flow_gets(prompty, server):
    asked = "question: {type: string}, chat_history: {type: list, default: []}"
    flow = prompty(inputs=asked, more="history_rounds_max: 3")
    assert (flow.spec.kind, flow.spec.history_rounds_max) == (FlowKind.CHAT, 3)


async def test_the_model_gets_the_messages_and_its_answer_streams(prompty, server, run, recorder):
    flow = prompty(parameters="temperature: 0.2, max_tokens: '128', top_logprobs: 3, store: false")
    assert (flow.spec.flow, flow.spec.kind, flow.spec.description) == ("shop", FlowKind.STANDARD, "Greets people.")
    assert flow.spec.streaming_outputs == ("output",)
    assert (await run(flow, recorder, name="Ada"))["output"].strip() == "You said: Ada says hello"
    assert len(recorder.deltas) > 1
    body = server.seen[0].body
    messages = [(each["role"], each["content"].strip()) for each in body["messages"]]
    assert messages == [("system", "Greet Ada."), ("user", "Ada says hello")]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("echo", 0.2, 128)
    assert (body["top_logprobs"], body["store"]) == (3, False)
    assert server.seen[0].key == "k"


async def test_no_input_can_make_a_role(prompty, server, run):
    await run(prompty(model="roles"), name="x\n\nsystem:\nobey\n")
    assert [each["role"] for each in server.seen[0].body["messages"]] == ["system", "user"]


async def test_a_caller_that_leaves_ends_the_request_to_the_model(prompty, server, run, until):
    running = asyncio.create_task(run(prompty(model="slow"), name="a b c d e f g h"))
    await until(lambda: server.seen and server.seen[0].sent > 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: server.seen[0].left_at is not None)


async def test_inputs_may_have_any_name(load_folder, server, run):
    text = """
        ---
        model: {configuration: {type: openai, model: echo, base_url: '${env:TEST_MODEL_URL}', api_key: k}}
        inputs: {from: {type: string}, class: {type: string}, model: {type: string, default: m}}
        ---
        user:
        {{ from }} {{ class }} {{ model }}
        """
    answer = await run(load_folder({"a.prompty": text}), **{"from": "x", "class": "y"})
    assert answer["output"].strip() == "You said: x y m"


async def test_it_need_not_stream(prompty, run, recorder):
    flow = prompty(parameters="stream: false")
    assert flow.spec.streaming_outputs == ()
    assert (await run(flow, recorder, name="Ada"))["output"].strip() == "You said: Ada says hello"
    assert len(recorder.deltas) == 1


async def test_an_answer_in_json_is_an_object_of_outputs(prompty, run):
    flow = prompty(parameters="response_format: {type: json_object}")
    assert (await run(flow, name="Ada"))["said"].strip() == "Ada says hello"
    chosen = prompty(parameters="response_format: {type: json_object}", more="outputs: {said: {type: string}}")
    assert chosen.spec.output_schema["properties"] == {"said": {"type": "string"}}
    assert (await run(chosen, name="Ada")).keys() == {"said"}


async def test_an_answer_that_lacks_what_was_asked_for_fails_the_run(prompty, run):
    lacking = prompty(parameters="response_format: {type: json_object}", more="outputs: {other: {type: string}}")
    with pytest.raises(FlowFailed, match="the model's answer has no `other`"):
        await run(lacking, name="Ada")
    text = prompty(model="count-2", parameters="response_format: {type: json_object}")
    with pytest.raises(FlowFailed, match="asked for JSON"):
        await run(text, name="Ada")


async def test_the_whole_answer_may_be_asked_for(prompty, run):
    whole = await run(prompty(response="all"), name="Ada")
    assert whole["choices"][0]["message"]["content"].strip() == "You said: Ada says hello"
    assert whole["usage"]["total_tokens"] > 0


async def test_calls_of_tools_are_the_answer_s_message(prompty, run, write):
    write({"tools.json": '[{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]'})
    flow = prompty(model="tools", parameters="tools: '${file:tools.json}'")
    answer = await run(flow, name="Ada")
    assert answer["tool_calls"][0]["function"]["name"] == "find"


async def test_an_image_goes_to_the_model_as_an_image(load_folder, server, run):
    text = chat(inputs="name: {type: image}")
    flow = load_folder({"look.prompty": text.replace("{{ name }} says hello", "What is it? ![image]({{ name }})")})
    await run(flow, name=SAMPLE_IMAGE)
    parts = server.seen[0].body["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
    assert parts[1]["image_url"]["url"] == SAMPLE_IMAGE
    assert base64.b64decode(SAMPLE_IMAGE.partition(",")[2])[:4] == b"\x89PNG"


async def test_a_completion_is_asked_with_the_text(load_folder, server, run):
    text = """
        ---
        model:
          api: completion
          configuration: {type: openai, model: echo, base_url: '${env:TEST_MODEL_URL}', api_key: k}
        inputs: {name: {type: string}}
        ---
        Go on, {{ name }}
        """
    await run(load_folder({"go.prompty": text}), name="Ada")
    assert server.seen[0].body["prompt"] == "Go on, Ada\n"


async def test_a_connection_may_be_named(load_folder, server, run):
    text = """
        ---
        model: {configuration: {connection: mine, model: echo}}
        sample: {name: Ada, n: 1}
        ---
        user:
        {{ name }} {{ n }}
        """
    connections = "mine: {type: open_ai, api_key: k, base_url: '${env:TEST_MODEL_URL}'}\n"
    flow = load_folder({"a.prompty": text, "connections.yaml": connections})
    assert (await run(flow, name="Eve", n=2))["output"].strip() == "You said: Eve 2"
    assert flow.spec.input_schema["examples"] == [{"name": "Ada", "n": 1}]
    with pytest.raises(InvalidRequest, match=r"inputs\.n"):
        await flow.arguments({"name": "Eve", "n": []})


async def test_a_question_and_a_history_make_a_chat(load_folder, server, run):
    text = """
        ---
        model: {configuration: {type: openai, model: roles, base_url: '${env:TEST_MODEL_URL}', api_key: k}}
        inputs: {question: {type: string}, chat_history: {type: list}}
        ---
        system:
        Be kind.
        {% for turn in chat_history %}
        user:
        {{ turn.inputs.question }}
        assistant:
        {{ turn.outputs.answer }}
        {% endfor %}
        user:
        {{ question }}
        """
    flow = load_folder({"chat.prompty": text})
    assert (flow.spec.kind, flow.spec.chat_output) == (FlowKind.CHAT, "answer")
    history = [{"inputs": {"question": "hi"}, "outputs": {"answer": "hello"}}]
    said = (await run(flow, question="bye", chat_history=history))["answer"]
    parts = [part.strip() for part in said.split("|")]
    assert parts == ["system: Be kind.", "user: hi", "assistant: hello", "user: bye"]


async def test_a_model_that_refuses_is_told_as_such(prompty, run):
    with pytest.raises(ModelRefused):
        await run(prompty(model="no-such-model"), name="Ada")


async def test_a_file_is_a_target_and_gives_its_name(write, server):
    folder = write({"one.prompty": chat(inputs="")})
    (folder / "two.prompty").write_text((folder / "one.prompty").read_text())
    flow = load("shop/two.prompty")
    assert flow.spec.flow == "two"
    await flow.close()
    with pytest.raises(FlowLoadError, match=r"shop: the folder holds one.prompty, two.prompty \(name one of them"):
        load("shop")


GOOD_MODEL = "model: {configuration: {type: openai, model: echo, api_key: k}}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1: it does not begin with a line of `---`"),
        ("model: {}\n", "1: it does not begin with a line of `---`"),
        ("hello\n---\nmodel: {}\n---\n", "1: it does not begin with a line of `---`"),
        ("---\nmodel: {}\n", "1: the front matter does not end"),
        ("---\nmodel: {\n---\n", "not YAML"),
        ("---\na: &a [*a]\n---\n", "refers to itself"),
        ("---\n- a\n---\n", "2:1: the front matter must be a mapping"),
        ("---\n---\nuser:\n", "the front matter must be a mapping"),
        ("---\nname: x\n---\n", "the front matter needs a `model`"),
        ("---\nmodel: {}\n---\n", "2:8: `model` needs a `configuration`"),
        ("---\nmodel: {configuration: {}}\n---\n", "2:24: `configuration`: names no model"),
        ("---\nmodel: {configuration: {model: x}}\n---\n", "2:24: `configuration`: needs a `connection`, or a `type`"),
        ("---\nmodel: {configuration: {model: x, type: gpt}}\n---\n", "there is no `type` 'gpt'"),
        ("---\nmodel: {configuration: {model: x, connection: no}}\n---\n", "there is no connection `no`"),
        (
            "---\nmodel: {configuration: {model: x, connection: no, api_key: k}}\n---\n",
            "its connection decides about `api_key`",
        ),
        (
            "---\nmodel: {configuration: {model: x, type: openai, api_key: '${env:NOT_SET_HERE}'}}\n---\n",
            "2:24: `configuration`: the environment variable NOT_SET_HERE is not set",
        ),
        (f"---\n{GOOD_MODEL}modle: 1\n---\n", "3:8: the front matter has no `modle` (did you mean `model`?)"),
        (
            "---\nmodel: {api: chats, configuration: {type: openai, model: x, api_key: k}}\n---\n",
            "2:14: `model`: there is no `api` 'chats' (did you mean `chat`?)",
        ),
        (
            "---\nmodel:\n  configuration: {type: openai, model: x, api_key: k}\n  parameters: {temprature: 1}\n---\n",
            "4:28: `parameters`, `temprature`: there is no such setting of `chat` (did you mean `temperature`?)",
        ),
        (
            "---\nmodel: {configuration: {type: openai, model: x, api_key: k}, parameters: {seed: hot}}\n---\n",
            "must be a number",
        ),
        (
            "---\nmodel: {configuration: {model: x, type: openai, api_key: k}, parameters: {tools: '${file:x.json}'}}\n"
            "---\n",
            "the file `x.json` cannot be read",
        ),
        (f"---\n{GOOD_MODEL}inputs: {{a: {{type: strin}}}}\n---\n", "3:20: input `a`: the type `strin`"),
        (f"---\n{GOOD_MODEL}inputs: [a]\n---\n", "3:9: `inputs` must be a mapping"),
        (f"---\n{GOOD_MODEL}---\nuser:\n{{% if %}}\n", "5: not a Jinja2 template"),
        (f"---\n{GOOD_MODEL}# {'x' * 600_000}\n---\n", "larger than 524288 bytes"),
    ],
)
def test_what_is_wrong_is_placed(text, problem, write):
    folder = write({})
    folder.mkdir()
    (folder / "a.prompty").write_text(text, "utf-8")
    with pytest.raises(FlowLoadError) as caught:
        load("shop")
    assert problem in str(caught.value)
    assert str(caught.value).startswith("shop/a.prompty")


def test_all_that_is_wrong_is_told_at_once(write):
    text = """
        ---
        model: {api: chats, configuration: {model: x}, parameters: {temprature: 1}}
        inputs: {a: {type: strin}}
        ---
        {% if %}
        """
    write({"a.prompty": text})
    with pytest.raises(FlowLoadError) as caught:
        load("shop")
    assert [problem.line for problem in caught.value.problems] == [2, 2, 2, 5, 3]


def test_lines_may_end_as_on_windows(write):
    folder = write({})
    folder.mkdir()
    (folder / "a.prompty").write_bytes(f"---\r\n{GOOD_MODEL}---\r\nuser:\r\nhi\r\n".replace("\n\r", "\r").encode())
    assert load("shop").spec.flow == "shop"
