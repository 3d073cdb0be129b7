"""LLM nodes: a template that is rendered with the node's inputs, and a model that answers it.

The form is prompt flow's: `connection`, `api` (`chat` or `completion`), and among the inputs the model's name
(`deployment_name` or `model`), its settings, and the variables of the template.
"""

import functools
from collections.abc import Mapping

from penstock.connections import Connection
from penstock_server.errors import FlowFailed
from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.models import settings
from penstock_server.flows.models.chat import Answer, ChatModel, ChatRequest, ModelRequest, TextRequest
from penstock_server.flows.models.messages import to_json
from penstock_server.flows.problems import ProblemFound, did_you_mean, listed
from penstock_server.flows.templates.template import Template
from penstock_server.flows.threads import Threads
from penstock_server.flows.valuetypes import text_of

MODEL_NAMES = ("deployment_name", "model")
"""The inputs that name the model: Azure's word, and everybody else's."""


class LlmNode:
    """A node that asks a model.

    Its output is the answer's text, which streams; with `tools` or `functions` it is the answer's message, whole.
    """

    def __init__(self, model: ChatModel, template: Template, threads: Threads, api: str, names: frozenset[str]) -> None:
        self._has_tools = bool(names & settings.WITH_TOOLS)
        self.is_streaming = not self._has_tools
        self.output_schema: JsonSchema = {"type": "object" if self._has_tools else "string"}
        self.optional = frozenset(settings.APIS[api])
        self._model = model
        self._template = template
        self._threads = threads
        self._api = api

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
        known = settings.APIS[self._api]
        name = next((str(arguments[each]) for each in MODEL_NAMES if arguments.get(each)), "")
        if not name:
            raise FlowFailed(f"no model is named: `{MODEL_NAMES[0]}` is empty")
        try:
            given = settings.read({key: arguments[key] for key in arguments if key in known}, known)
        except ValueError as error:
            raise FlowFailed(f"a setting of the model is wrong: {error}") from None
        variables = {key: value for key, value in arguments.items() if key not in known and key not in MODEL_NAMES}
        if self._api == "completion":
            prompt = await self._threads.call(functools.partial(self._template.render, variables))
            return TextRequest(model=name, prompt=prompt, settings=given)
        messages = await self._threads.call(functools.partial(self._template.messages, variables))
        return ChatRequest(model=name, messages=[to_json(each) for each in messages], settings=given)


def make(declared: NodeDeclaration, workshop: Workshop) -> LlmNode | None:
    """See `MakeNode`."""
    connection = _connection(declared, workshop)
    model = _model(declared, connection, workshop) if connection else None
    template = workshop.template(declared)
    api = _api(declared, workshop)
    if api:
        _check_inputs(declared, api, workshop)
    if model is None or template is None or not api:
        return None
    return LlmNode(model, template, workshop.threads, api, frozenset(declared.inputs))


def _connection(declared: NodeDeclaration, workshop: Workshop) -> Connection | None:
    item = declared.item.get("connection")
    name = text_of(item)
    if not name:
        known = workshop.connections.names
        hint = f"known are: {listed(known)}" if known else "declare one in connections.yaml"
        workshop.problems.add(item or declared.item, f"node `{declared.name}` needs a `connection`", hint=hint)
        return None
    try:
        return workshop.connections.get(name)
    except ProblemFound as error:
        workshop.problems.add(item, f"node `{declared.name}`: {error.text}", hint=error.hint)
        return None


def _model(declared: NodeDeclaration, connection: Connection, workshop: Workshop) -> ChatModel | None:
    try:
        return workshop.models.of(connection)
    except ProblemFound as error:
        workshop.problems.add(declared.item.get("connection"), f"node `{declared.name}`: {error.text}", hint=error.hint)
        return None


def _api(declared: NodeDeclaration, workshop: Workshop) -> str:
    """Which protocol; empty, with a problem added, for one that there is not."""
    item = declared.item.get("api")
    api = text_of(item) or "chat"
    if api in settings.APIS:
        return api
    text = f"node `{declared.name}`: there is no `api` {api!r}"
    workshop.problems.add(item, text, hint=did_you_mean(api, list(settings.APIS)))
    return ""


def _check_inputs(declared: NodeDeclaration, api: str, workshop: Workshop) -> None:
    """Adds a problem for each setting whose literal no model takes, and where no model is named."""
    what = f"node `{declared.name}`"
    for name, binding in declared.inputs.items():
        if name not in settings.APIS[api] or binding.reference is not None:
            continue
        try:
            settings.read({name: binding.literal}, settings.APIS[api])
        except ValueError as error:
            workshop.problems.add(binding.item, f"{what}: {error}")
    if not any(each.reference or each.literal for name, each in declared.inputs.items() if name in MODEL_NAMES):
        text = f"{what} names no model"
        workshop.problems.add(declared.item, text, hint=f"give the input `{MODEL_NAMES[0]}` or `{MODEL_NAMES[1]}`")
