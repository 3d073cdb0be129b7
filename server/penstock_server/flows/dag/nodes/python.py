"""Python nodes: the one function of a file, or a function of an installed package, that is marked with `@tool`."""

import copy
import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock_server.flows.dag.graph import Binding, NodeDeclaration
from penstock_server.flows.dag.nodes import literals, tools
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.dag.nodes.tools import Tool
from penstock_server.flows.document import Item
from penstock_server.flows.failures import user_trace
from penstock_server.flows.problems import ProblemFound, did_you_mean
from penstock_server.flows.returns import UNKNOWN, is_streaming, whole_schema
from penstock_server.flows.threads import Threads
from penstock_server.flows.usercode import Form, UserCode


class PythonNode:
    """A node that calls a function."""

    def __init__(self, code: UserCode, fixed: Mapping[str, object], absent: frozenset[str], threads: Threads) -> None:
        """Takes the function.

        Args:
            fixed: the arguments that never change, which go before those of a call.
            absent: the inputs that the function does not get.
        """
        hint = _hints(code.function).get("return", UNKNOWN)
        self.is_streaming = is_streaming(hint, code.written)
        self.output_schema = whole_schema(hint, code.written)
        parameters = code.signature.parameters.values()
        self.optional = frozenset(each.name for each in parameters if each.default is not each.empty)
        self._code = code
        self._fixed = fixed
        self._absent = absent
        self._threads = threads

    async def call(self, arguments: Mapping[str, object]) -> object:
        """See `Node.call`."""
        return await self._code.call(self._arguments(arguments), self._threads)

    def _arguments(self, given: Mapping[str, object]) -> Mapping[str, object]:
        if not (self._absent or self._fixed):
            return given
        kept = {name: value for name, value in given.items() if name not in self._absent}
        return {**kept, **copy.deepcopy(self._fixed)}  # the function may change what it gets


class BlockingPythonNode(PythonNode):
    """A node that calls a function which is neither asynchronous nor a generator."""

    def execute(self, arguments: Mapping[str, object]) -> object:
        """See `Blocking.execute`."""
        return self._code.call_here(self._arguments(arguments))


def make(declared: NodeDeclaration, workshop: Workshop) -> PythonNode | None:
    """See `MakeNode`. Executes the file."""
    source = declared.item.get("source")
    kind = source.get("type") if source else None
    if kind is None or kind.value == "code":
        path = workshop.source(declared)
        return None if path is None else made(declared, workshop, lambda: _of_file(path, workshop), place="path")
    if kind.value == "package":
        name = workshop.tool_name(declared)
        return None if name is None else made(declared, workshop, lambda: tools.of_package(name), place="tool")
    text = f"node `{declared.name}`: there is no source type `{kind.plain()}` for Python nodes"
    workshop.problems.add(kind, text, hint="the types are code and package")
    return None


def made(
    declared: NodeDeclaration,
    workshop: Workshop,
    find: Callable[[], Tool],
    *,
    place: str,
    fixed: Callable[[Tool], Mapping[str, object]] = lambda _: {},
) -> PythonNode | None:
    """A node that calls what `find` finds; None, with a problem added, where that is not possible.

    Args:
        place: which key of `source` names the tool.
        fixed: the arguments that the node's inputs do not give.
    """
    problems = workshop.problems
    try:
        tool = find()
        given = fixed(tool)
    except ProblemFound as error:
        source = declared.item.get("source")
        item = (source.get(place) if source else None) or declared.item
        problems.add(item, f"node `{declared.name}`: {error.text}", hint=error.hint, trace=error.trace)
        return None
    maker = _Maker(declared, workshop, tool)
    init = maker.init()
    if init is None:
        return None
    try:
        code = UserCode(tool.made(init))
    except ProblemFound as error:
        problems.add(declared.item, f"node `{declared.name}`: {error.text}", trace=error.trace)
        return None
    return maker.node(code, given)


def _of_file(path: Path, workshop: Workshop) -> Tool:
    try:
        module = workshop.modules.execute_file(path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a file that calls exit() must not end the server's start without a word
        text = f"{path.name} raised {type(error).__name__}: {error}"
        raise ProblemFound(text, hint=workshop.hint_of(error), trace=user_trace(error)) from error
    return tools.of_file(module, path.name)


class _Maker:
    """Makes a node of its declaration and its tool."""

    def __init__(self, declared: NodeDeclaration, workshop: Workshop, tool: Tool) -> None:
        self._declared = declared
        self._problems = workshop.problems
        self._connections = workshop.connections
        self._threads = workshop.threads
        self._init = tool.init_parameters
        self._init_hints = _hints(tool.owner.__init__) if tool.owner else {}  # type: ignore[misc]

    def init(self) -> dict[str, object] | None:
        """The values for the constructor of the tool's class; None, with problems added, where one is missing."""
        found: dict[str, object] = {}
        for name, parameter in self._init.items():
            binding = self._declared.inputs.get(name)
            if binding is not None and binding.reference is not None:
                self._add(binding.item, f"input `{name}` is for the constructor of its class, and must be a literal")
                return None
            if binding is not None and binding.literal not in (None, ""):
                hint = self._init_hints.get(name, inspect.Parameter.empty)
                found[name] = self._converted(name, binding, parameter, hint).literal
            elif parameter.default is parameter.empty:
                self._add(self._declared.item, f"the class of its tool needs the input `{name}`")
                return None
        return found

    def node(self, code: UserCode, given: Mapping[str, object]) -> PythonNode:
        """The node; a problem is added for each input that does not fit."""
        parameters = code.signature.parameters
        hints = _hints(code.function)
        inputs = {name: binding for name, binding in self._declared.inputs.items() if name not in self._init}
        self._check_names(inputs, given, parameters)
        fixed = dict(given)
        for name, binding in inputs.items():
            changed = self._converted(name, binding, parameters.get(name), hints.get(name, inspect.Parameter.empty))
            if changed.literal is not binding.literal:
                fixed[name] = changed.literal
        absent = {name for name, each in inputs.items() if _is_unset(each, parameters.get(name))} | self._init.keys()
        kind = BlockingPythonNode if code.form is Form.FUNCTION else PythonNode
        return kind(code, fixed, frozenset(absent), self._threads)

    def _converted(self, name: str, binding: Binding, parameter: inspect.Parameter | None, hint: Any) -> Binding:
        try:
            return literals.converted(binding, parameter, hint, self._connections)
        except ProblemFound as error:
            self._add(binding.item, f"input `{name}`: {error.text}", error.hint)
            return binding

    def _check_names(
        self, inputs: Mapping[str, Binding], given: Mapping[str, object], parameters: Mapping[str, inspect.Parameter]
    ) -> None:
        named = [each.name for each in parameters.values() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
        if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            for name, binding in inputs.items():
                if name not in named:
                    self._add(binding.item, f"its function has no parameter `{name}`", did_you_mean(name, named))
        for name in named:
            if name not in inputs and name not in given and parameters[name].default is inspect.Parameter.empty:
                self._add(self._declared.item, f"its function needs the input `{name}`")

    def _add(self, item: Item, text: str, hint: str = "") -> None:
        self._problems.add(item, f"node `{self._declared.name}`: {text}", hint=hint)


def _is_unset(binding: Binding, parameter: inspect.Parameter | None) -> bool:
    """Whether the YAML leaves an input empty that has a default: prompt flow takes it as not given."""
    is_empty = binding.reference is None and binding.literal in (None, "")
    return is_empty and parameter is not None and parameter.default is not parameter.empty


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations; none where they cannot be resolved: the node's inputs come from the flow all the same."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return {}
