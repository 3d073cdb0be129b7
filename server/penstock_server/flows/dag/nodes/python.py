"""Python nodes: the one function of a file that is marked with `@tool`."""

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from penstock.flow import TOOL_ATTRIBUTE
from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.document import Problems
from penstock_server.flows.failures import user_trace
from penstock_server.flows.modules import MAIN
from penstock_server.flows.problems import did_you_mean, listed
from penstock_server.flows.returns import UNKNOWN, is_streaming, whole_schema
from penstock_server.flows.threads import Threads
from penstock_server.flows.usercode import UserCode

PROMPT_FLOW_ATTRIBUTE = "__tool"
"""The attribute that prompt flow's own `@tool` leaves on a function, where that package is installed."""


class PythonNode:
    """A node that calls a function."""

    def __init__(self, code: UserCode, hint: Any, threads: Threads, unset: frozenset[str]) -> None:
        self.is_streaming = is_streaming(hint, code.written)
        self.output_schema = whole_schema(hint, code.written)
        self._code = code
        self._threads = threads
        self._unset = unset

    async def call(self, arguments: Mapping[str, object]) -> object:
        """See `Node.call`."""
        if self._unset:
            arguments = {name: value for name, value in arguments.items() if name not in self._unset}
        return await self._code.call(arguments, self._threads)


def make(declared: NodeDeclaration, workshop: Workshop) -> PythonNode | None:
    """See `MakeNode`. Executes the file."""
    path = workshop.source(declared)
    if path is None:
        return None
    module = _executed(declared, path, workshop)
    tool = _tool(module, declared, path, workshop.problems) if module else None
    if tool is None:
        return None
    code = UserCode(tool)
    _check_inputs(declared, code.signature, workshop.problems)
    return PythonNode(code, _return_hint(code.function), workshop.threads, _unset(declared, code.signature))


def _executed(declared: NodeDeclaration, path: Path, workshop: Workshop) -> ModuleType | None:
    try:
        return workshop.modules.execute_file(path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a file that calls exit() must not end the server's start without a word
        text = f"node `{declared.name}`: {path.name} raised {type(error).__name__}: {error}"
        workshop.problems.add(_path_item(declared), text, trace=user_trace(error))
        return None


def _tool(module: ModuleType, declared: NodeDeclaration, path: Path, problems: Problems) -> Callable[..., Any] | None:
    tools = {id(value): value for value in vars(module).values() if _is_tool(value)}
    if len(tools) == 1:
        found: Callable[..., Any] = next(iter(tools.values()))
        return found
    if tools:
        names = listed([tool.__name__ for tool in tools.values()])
        text = f"node `{declared.name}`: {path.name} has {len(tools)} functions with @tool: {names}"
        problems.add(_path_item(declared), text, hint="a file has one")
    else:
        text = f"node `{declared.name}`: {path.name} has no function with @tool"
        problems.add(_path_item(declared), text, hint="from penstock.flow import tool")
    return None


def _is_tool(value: object) -> bool:
    """Whether it is a tool that the file itself defines; tools that it imports belong to other files."""
    is_marked = inspect.isfunction(value) and (hasattr(value, TOOL_ATTRIBUTE) or hasattr(value, PROMPT_FLOW_ATTRIBUTE))
    return is_marked and getattr(value, "__module__", "") == MAIN


def _check_inputs(declared: NodeDeclaration, signature: inspect.Signature, problems: Problems) -> None:
    parameters = signature.parameters
    named = [name for name, each in parameters.items() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        for name, binding in declared.inputs.items():
            if name not in named:
                text = f"node `{declared.name}`: its function has no parameter `{name}`"
                problems.add(binding.item, text, hint=did_you_mean(name, named))
    for name in named:
        if name not in declared.inputs and parameters[name].default is inspect.Parameter.empty:
            problems.add(declared.item, f"node `{declared.name}`: its function needs the input `{name}`")


def _unset(declared: NodeDeclaration, signature: inspect.Signature) -> frozenset[str]:
    """The inputs that the YAML leaves empty and the function has a default for: prompt flow takes them as not given."""
    return frozenset(
        name
        for name, binding in declared.inputs.items()
        if binding.literal in (None, "")
        and name in signature.parameters
        and signature.parameters[name].default is not inspect.Parameter.empty
    )


def _return_hint(function: Callable[..., Any]) -> Any:
    try:
        return typing.get_type_hints(function, include_extras=True).get("return", UNKNOWN)
    except (NameError, TypeError):  # annotations are no condition here: the node's inputs come from the flow
        return UNKNOWN


def _path_item(declared: NodeDeclaration) -> Any:
    source = declared.item.get("source")
    return (source.get("path") if source else None) or declared.item
