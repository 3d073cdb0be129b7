"""Prompt nodes: a Jinja2 template that is rendered with the node's inputs."""

import functools
from collections.abc import Mapping

from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.templates.template import Template
from penstock_server.flows.threads import Threads


class PromptNode:
    """A node that renders a template."""

    is_streaming = False
    optional: frozenset[str] = frozenset()

    def __init__(self, template: Template, threads: Threads) -> None:
        self.output_schema: JsonSchema = {"type": "string"}
        self._template = template
        self._threads = threads

    async def call(self, arguments: Mapping[str, object]) -> object:
        """See `Node.call`. Renders in a thread: a template may loop, and calls what its values define."""
        return await self._threads.call(functools.partial(self.execute, arguments))

    def execute(self, arguments: Mapping[str, object]) -> object:
        """See `Blocking.execute`."""
        return self._template.render(arguments)


def make(declared: NodeDeclaration, workshop: Workshop) -> PromptNode | None:
    """See `MakeNode`."""
    template = workshop.template(declared)
    return PromptNode(template, workshop.threads) if template else None
