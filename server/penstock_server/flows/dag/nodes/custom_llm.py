"""Custom LLM nodes: a function of an installed package that gets a template, to be rendered as it likes."""

import inspect
from collections.abc import Mapping

from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.dag.nodes import tools
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.dag.nodes.python import PythonNode, made
from penstock_server.flows.dag.nodes.tools import Tool
from penstock_server.flows.problems import ProblemFound

PROMPT_TEMPLATE = "PromptTemplate"
"""What the type of the parameter that takes the template is called, in prompt flow's package and in ours."""


def make(declared: NodeDeclaration, workshop: Workshop) -> PythonNode | None:
    """See `MakeNode`."""
    source = declared.item.get("source")
    kind = source.get("type") if source else None
    if kind is not None and kind.value != "package_with_prompt":
        text = f"node `{declared.name}`: there is no source type `{kind.plain()}` for custom_llm nodes"
        workshop.problems.add(kind, text, hint="it is package_with_prompt")
        return None
    name, path = workshop.tool_name(declared), workshop.source(declared)
    template = workshop.template(declared) if path else None
    if name is None or path is None or template is None:
        return None
    text = path.read_text("utf-8")
    return made(
        declared, workshop, lambda: tools.of_package(name), place="tool", fixed=lambda tool: _prompt(tool, text)
    )


def _prompt(tool: Tool, template: str) -> Mapping[str, object]:
    for name, parameter in inspect.signature(tool.function).parameters.items():
        hint = parameter.annotation
        if (hint if isinstance(hint, str) else getattr(hint, "__name__", "")).rpartition(".")[2] == PROMPT_TEMPLATE:
            return {name: hint(template) if isinstance(hint, type) else template}
    text = f"`{tool.function.__name__}` has no parameter of the type {PROMPT_TEMPLATE}"
    raise ProblemFound(text, hint="from promptflow.contracts.types import PromptTemplate")
