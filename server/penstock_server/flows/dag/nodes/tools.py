"""Tools: the functions that are marked with `@tool`, in a file of the flow or in an installed package."""

import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from penstock.flow import TOOL_ATTRIBUTE
from penstock_server.flows.failures import user_trace
from penstock_server.flows.modules import MAIN
from penstock_server.flows.problems import ProblemFound, did_you_mean, listed

logger = logging.getLogger("penstock.flows")

PROMPT_FLOW_ATTRIBUTE = "__tool"
"""The attribute that prompt flow's own `@tool` leaves on a function, where that package is installed."""

PACKAGE_TOOLS = "package_tools"
"""The group of entry points with which packages list their tools, as prompt flow has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that a node executes; or a method, and the class of which an instance is made."""

    function: Callable[..., Any]
    owner: type | None = None

    @property
    def init_parameters(self) -> Mapping[str, inspect.Parameter]:
        """What the class takes to be made; nothing where there is no class."""
        if self.owner is None:
            return {}
        parameters = inspect.signature(self.owner.__init__).parameters  # type: ignore[misc]
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {name: each for name, each in parameters.items() if name != "self" and each.kind not in kinds}

    def made(self, init: Mapping[str, object]) -> Callable[..., Any]:
        """What is to be called; a class is made with `init`.

        Raises:
            ProblemFound: the class raised.
        """
        if self.owner is None:
            return self.function
        try:
            instance = self.owner(**init)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            text = f"`{self.owner.__name__}` raised {type(error).__name__}: {error}"
            raise ProblemFound(text, trace=user_trace(error)) from error
        method: Callable[..., Any] = getattr(instance, self.function.__name__)
        return method


def of_file(module: ModuleType, file: str) -> Tool:
    """The one tool that a file defines; those that it imports belong to other files.

    Raises:
        ProblemFound: it defines none, or several.
    """
    functions = [value for value in vars(module).values() if _is_tool(value) and value.__module__ == MAIN]
    found = [Tool(function=function) for function in {id(each): each for each in functions}.values()]
    for owner in {id(value): value for value in vars(module).values() if _is_provider(value)}.values():
        methods = inspect.getmembers_static(owner, _is_tool)
        found += [Tool(function=method, owner=owner) for _, method in methods]
    if len(found) == 1:
        return found[0]
    if found:
        names = listed([tool.function.__qualname__ for tool in found])
        raise ProblemFound(f"{file} has {len(found)} functions with @tool: {names}", hint="a file has one")
    raise ProblemFound(f"{file} has no function with @tool", hint="from penstock.flow import tool")


def of_package(name: str) -> Tool:
    """The tool of an installed package: by the name that its package lists it under, or by its dotted path.

    Raises:
        ProblemFound: there is none, or its package cannot be imported.
    """
    listing = _listed_tools()
    entry = listing.get(name) or next(
        (each for each in listing.values() if name in each.get("deprecated_tools", ())), None
    )
    if entry is not None:
        path = [entry["class_name"]] if entry.get("class_name") else []
        return _imported(str(entry["module"]), [*path, str(entry["function"])], name)
    module, _, function = name.rpartition(".")
    try:
        return _imported(module, [function], name)
    except ProblemFound:
        outer, _, owner = module.rpartition(".")
        if owner[:1].isupper():
            return _imported(outer, [owner, function], name)
        raise


def _imported(module: str, path: list[str], name: str) -> Tool:
    found: Any = None
    try:
        found = importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if not module or (missing and f"{module}.".startswith(f"{missing}.")):
            hint = did_you_mean(name, list(_listed_tools())) or "install the package that has it"
            raise ProblemFound(f"there is no tool `{name}`", hint=hint) from None
        text = f"the package of `{name}` raised {type(error).__name__}: {error}"
        raise ProblemFound(text, trace=user_trace(error)) from error
    for part in path:
        found = inspect.getattr_static(found, part, None)
    if not inspect.isfunction(found):
        raise ProblemFound(f"`{module}` has no function `{'.'.join(path)}`")
    owner = getattr(importlib.import_module(module), path[0]) if len(path) > 1 else None
    return Tool(function=found, owner=owner)


def _listed_tools() -> dict[str, Mapping[str, Any]]:
    """What installed packages list; one that fails to do so lists nothing."""
    found: dict[str, Mapping[str, Any]] = {}
    for point in entry_points(group=PACKAGE_TOOLS):
        try:
            found.update(point.load()())
        except Exception:  # it need not be the package that is asked for
            logger.warning("a package cannot list its tools: %s", point.value, exc_info=True)
    return found


def _is_tool(value: object) -> bool:
    return inspect.isfunction(value) and (hasattr(value, TOOL_ATTRIBUTE) or hasattr(value, PROMPT_FLOW_ATTRIBUTE))


def _is_provider(value: object) -> bool:
    """Whether it is a class of the file's own that holds tools; its base may be prompt flow's or ours."""
    if not isinstance(value, type) or MAIN not in value.__module__:
        return False
    return any(base.__name__ == "ToolProvider" for base in value.__mro__[1:])
