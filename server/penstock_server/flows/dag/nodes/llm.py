"""LLM nodes: a template that is rendered with the node's inputs, and a model that answers it.

The form is prompt flow's: `connection`, `api` (`chat` or `completion`), and among the inputs the model's name
(`deployment_name` or `model`), its settings, and the variables of the template.
"""

import functools
from collections.abc import Mapping

from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.dag.nodes import asking
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.models import settings
from penstock_server.flows.models.chat import Answer, ChatRequest, Model, ModelRequest, TextRequest
from penstock_server.flows.models.messages import to_json
from penstock_server.flows.models.settings import APIS
from penstock_server.flows.problems import did_you_mean
from penstock_server.flows.templates.template import Template
from penstock_server.flows.threads import Threads
from penstock_server.flows.valuetypes import text_of


class LlmNode:
    """A node that asks a model.

    Its output is the answer's text, which streams; with `tools` or `functions` it is the answer's message, whole.
    """

    def __init__(self, model: Model, template: Template, threads: Threads, *, api: str, has_tools: bool) -> None:
        self.is_streaming = not has_tools
        self.output_schema: JsonSchema = {"type": "object" if has_tools else "string"}
        self.optional = frozenset(APIS[api])
        self._model = model
        self._template = template
        self._threads = threads
        self._api = api
        self._has_tools = has_tools

    async def call(self, arguments: Mapping[str, object]) -> object:
        """See `Node.call`. Renders in a thread: a template may loop, and calls what its values define.

        Raises:
            FlowFailed: a setting has no form that models take, or no model is named.
        """
        request = await self._request(arguments)
        if self._has_tools:
            return (await self._model.answer(request)).message
        return self._model.stream(request, Answer())

    async def _request(self, arguments: Mapping[str, object]) -> ModelRequest:
        name, given, variables = asking.divided(arguments, APIS[self._api])
        if self._api == "completion":
            prompt = await self._threads.call(functools.partial(self._template.render, variables))
            return TextRequest(model=name, prompt=prompt, settings=given)
        messages = await self._threads.call(functools.partial(self._template.messages, variables))
        return ChatRequest(model=name, messages=[to_json(each) for each in messages], settings=given)


def make(declared: NodeDeclaration, workshop: Workshop) -> LlmNode | None:
    """See `MakeNode`."""
    model = asking.model(declared, workshop)
    template = workshop.template(declared)
    api = _api(declared, workshop)
    if api:
        asking.check_inputs(declared, APIS[api], workshop)
    if model is None or template is None or not api:
        return None
    has_tools = any(name in settings.WITH_TOOLS for name in declared.inputs)
    return LlmNode(model, template, workshop.threads, api=api, has_tools=has_tools)


def _api(declared: NodeDeclaration, workshop: Workshop) -> str:
    """Which protocol; empty, with a problem added, for one that there is not."""
    item = declared.item.get("api")
    api = text_of(item) or "chat"
    if api in APIS:
        return api
    text = f"node `{declared.name}`: there is no `api` {api!r}"
    workshop.problems.add(item, text, hint=did_you_mean(api, list(APIS)))
    return ""
