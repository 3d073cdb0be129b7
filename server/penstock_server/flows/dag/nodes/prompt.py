"""Prompt nodes: a Jinja2 template that is rendered with the node's inputs."""

import functools
from collections.abc import Mapping

from jinja2 import Template, TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.problems import Problem
from penstock_server.flows.threads import Threads


class PromptNode:
    """A node that renders a template."""

    is_streaming = False

    def __init__(self, template: Template, threads: Threads) -> None:
        self.output_schema: JsonSchema = {"type": "string"}
        self._template = template
        self._threads = threads

    async def call(self, arguments: Mapping[str, object]) -> object:
        """See `Node.call`. Renders in a thread: a template may loop, and calls what its values define."""
        return await self._threads.call(functools.partial(self._template.render, dict(arguments)))


def make(declared: NodeDeclaration, workshop: Workshop) -> PromptNode | None:
    """See `MakeNode`."""
    path = workshop.source(declared)
    if path is None:
        return None
    file = path.relative_to(workshop.folder).as_posix()
    try:
        template = _ENVIRONMENT.from_string(path.read_text("utf-8"))
    except TemplateSyntaxError as error:
        text = f"node `{declared.name}`: not a Jinja2 template: {error.message}"
        workshop.problems.found.append(Problem(file=workshop.problems.beside(file), line=error.lineno, text=text))
        return None
    except UnicodeDecodeError:
        workshop.problems.add(declared.item, f"node `{declared.name}`: {file} is not UTF-8")
        return None
    return PromptNode(template, workshop.threads)


_ENVIRONMENT = SandboxedEnvironment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)
"""Text for a model is no HTML, so nothing is escaped. What is undefined renders as nothing, as in prompt flow."""
