"""Answers to `from promptflow.core import tool` and its like, where the packages of those names are not installed.

Flow folders import their decorators from the framework that they were written for. The few names that such code needs
to run come from here; an installed package always goes first.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from penstock.flow import tool


class ToolProvider:
    """The base of classes that hold tools."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()


def trace(function: Callable[..., Any] | None = None, /, **_: object) -> Any:
    """Marks a function for tracing. Used bare, `@trace`, or with options; the function stays as it is."""
    return _same if function is None else function


def start_trace(**_: object) -> None:
    """Does nothing: the server records what it serves without being asked."""


def install() -> None:
    """Makes the modules importable; a second call changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


class _Finder(MetaPathFinder, Loader):
    """Stands last in `sys.meta_path`, so it is asked only for what nothing else has."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _MODULES:
            return None
        return ModuleSpec(fullname, self, origin=__file__, is_package="." not in fullname)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(_MODULES[module.__name__])


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


_TOOLS = {"tool": tool, "ToolProvider": ToolProvider}
_TRACES = {"trace": trace, "start_trace": start_trace}
_MODULES: Mapping[str, Mapping[str, object]] = {
    "promptflow": _TOOLS,
    "promptflow.core": _TOOLS,
    "promptflow.tracing": _TRACES,
    "langstudio": _TOOLS,
    "langstudio.core": {**_TOOLS, **_TRACES},
}
