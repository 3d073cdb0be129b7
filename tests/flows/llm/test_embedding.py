import pytest
from tests.modelserver.answers import vector

from penstock_server.errors import FlowFailed
from penstock_server.flows.problems import FlowLoadError


@pytest.fixture
def embedding_flow(load_folder, server):
    def make(inputs: str, kind: str = "object"):
        files = {
            "connections.yaml": f"open: {{type: open_ai, base_url: '{server.url}'}}\n",
            "flow.dag.yaml": f"""\
inputs: {{given: {{type: {kind}}}}}
outputs: {{vectors: {{type: list, reference: "${{embed.output}}"}}}}
nodes:
- {{name: embed, type: embedding, connection: open, inputs: {{{inputs}}}}}
""",
        }
        return load_folder(files)

    return make


GIVEN = 'model: echo, input: "${inputs.given}"'


async def test_a_text_is_a_vector_and_a_list_of_texts_a_list_of_them(embedding_flow, run, recorder) -> None:
    assert await run(embedding_flow(GIVEN, "string"), recorder, given="tea") == {"vectors": vector("tea")}
    assert recorder.records["embed"].input_tokens == 1
    both = await run(embedding_flow(f"{GIVEN}, dimensions: 3", "list"), given=["tea", "milk"])
    assert both == {"vectors": [vector("tea", 3), vector("milk", 3)]}


async def test_no_texts_are_no_vectors_and_no_request(embedding_flow, run, server) -> None:
    assert await run(embedding_flow(GIVEN, "list"), given=[]) == {"vectors": []}
    assert server.seen == []


async def test_what_is_no_text_is_refused(embedding_flow, run) -> None:
    with pytest.raises(FlowFailed, match="`input` must be a text, or a list of texts"):
        await run(embedding_flow(GIVEN, "list"), given=["tea", 3])


def test_what_is_wrong_is_told_at_start(embedding_flow) -> None:
    with pytest.raises(FlowLoadError) as error:
        embedding_flow("inptu: tea, dimensions: many")
    told = str(error.value)
    assert "node `embed`: an embedding has no input `inptu` (did you mean `input`?)" in told
    assert "node `embed` needs an input `input`, what is embedded" in told
    assert "node `embed`: `dimensions` must be a number" in told
    assert "node `embed` names no model" in told
