from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.modelserver.server import ModelServer

from penstock_server.flows.flow import Flow


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer().serving() as running:
        yield running


@pytest.fixture
def llm_flow(load_folder: Callable[..., Flow], server: ModelServer) -> Callable[..., Flow]:
    """A flow with one LLM node `ask` behind the output `answer`: its template, its inputs and further files."""

    def make(template: str, inputs: str, *, api: str = "chat", more: str = "", **settings: Any) -> Flow:
        files = {
            "connections.yaml": f"open: {{type: open_ai, api_key: sk-not-to-be-shown, base_url: '{server.url}'}}\n",
            "ask.jinja2": template,
            "flow.dag.yaml": f"""\
inputs:
  question: {{type: string, default: "Is there tea?"}}
outputs:
  answer: {{type: string, reference: "${{ask.output}}"}}
nodes:
- name: ask
  type: llm
  source: {{type: code, path: ask.jinja2}}
  inputs: {{{inputs}}}
  provider: OpenAI
  connection: open
  api: {api}
  module: promptflow.tools.openai
{more}""",
        }
        return load_folder(files, **settings)

    return make
