"""Embedding nodes: a text, or a list of texts, as vectors.

The inputs are those of prompt flow's embedding tool: the model's name (`deployment_name` or `model`), and `input`.
"""

from collections.abc import Mapping

from penstock_server.errors import FlowFailed
from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.dag.nodes import asking
from penstock_server.flows.dag.nodes.asking import MODEL_NAMES
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.models import settings
from penstock_server.flows.models.chat import EmbeddingRequest, Model
from penstock_server.flows.problems import did_you_mean

INPUT = "input"
"""The input that holds what is embedded."""


class EmbeddingNode:
    """A node that asks an embedding model.

    Its output is a list of numbers for a text, and a list of such lists for a list of texts.
    """

    is_streaming = False
    optional = frozenset(settings.EMBEDDING)

    def __init__(self, model: Model) -> None:
        self.output_schema: JsonSchema = {"type": "array", "items": {}}
        self._model = model

    async def call(self, arguments: Mapping[str, object]) -> object:
        """See `Node.call`.

        Raises:
            FlowFailed: no model is named, a setting has no form that models take, or the input is no text.
        """
        name, given, rest = asking.divided(arguments, settings.EMBEDDING)
        found = rest.get(INPUT)
        texts = [found] if isinstance(found, str) else found
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise FlowFailed(f"`{INPUT}` must be a text, or a list of texts")
        vectors = await self._model.embed(EmbeddingRequest(model=name, texts=texts, settings=given)) if texts else []
        return vectors[0] if isinstance(found, str) else vectors


def make(declared: NodeDeclaration, workshop: Workshop) -> EmbeddingNode | None:
    """See `MakeNode`."""
    model = asking.model(declared, workshop)
    asking.check_inputs(declared, settings.EMBEDDING, workshop)
    known = [INPUT, *MODEL_NAMES, *settings.EMBEDDING]
    for name, binding in declared.inputs.items():
        if name not in known:
            text = f"node `{declared.name}`: an embedding has no input `{name}`"
            workshop.problems.add(binding.item, text, hint=did_you_mean(name, known))
    if INPUT not in declared.inputs:
        workshop.problems.add(declared.item, f"node `{declared.name}` needs an input `{INPUT}`, what is embedded")
    return EmbeddingNode(model) if model else None
