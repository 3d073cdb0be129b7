"""Answers to `from promptflow.core import tool` and its like, where the packages of those names are not installed.

Flow folders import their decorators from the framework that they were written for. The few names that such code needs
to run come from here; an installed package always goes first.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from inspect import get_annotations
from types import ModuleType
from typing import Any, ClassVar

from penstock import connections
from penstock.flow import tool
from penstock.media import File, Image
from penstock.modelconfig import CONFIGURATIONS, ModelConfiguration
from penstock_server.flows.prompty.code import AsyncPrompty, Prompty

ANSWERED = frozenset({
    "promptflow", "promptflow-core", "promptflow-devkit", "promptflow-tracing", "promptflow-tools", "langstudio",
})  # fmt: skip
"""The packages whose imports are answered here."""


class ToolProvider:
    """The base of classes that hold tools."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()


def trace(function: Callable[..., Any] | None = None, /, **_: object) -> Any:
    """Marks a function for tracing. Used bare, `@trace`, or with options; the function stays as it is."""
    return _same if function is None else function


def start_trace(**_: object) -> None:
    """Does nothing: the server records what it serves without being asked."""


def log_metric(key: str, value: float, **_: object) -> None:
    """Does nothing: metrics are of batches of runs."""


class ThreadPoolExecutorWithContext(ThreadPoolExecutor):
    """A pool whose threads see the context variables of those who submit work to it."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """See `concurrent.futures.Executor.submit`."""
        return super().submit(copy_context().run, function, *args, **kwargs)


class PlainSecret(str):
    """Hints that a value is a secret."""

    __slots__ = ()


class PromptTemplate(str):
    """Hints that a parameter takes a template, and is one."""

    __slots__ = ()


class FilePath(str):
    """Hints that a value is the path of a file."""

    __slots__ = ()


class CustomStrongTypeConnection(connections.CustomConnection):
    """The base of classes that name the values of a custom connection; values of the class are defaults."""

    _defaults: ClassVar[Mapping[str, object]] = {}

    def __init_subclass__(cls) -> None:
        named = [name for name in get_annotations(cls) if name in cls.__dict__]
        cls._defaults = {**cls._defaults, **{name: cls.__dict__[name] for name in named}}
        for name in named:
            delattr(cls, name)  # or it would hide the connection's own value

    def __init__(self, secrets: Any = None, configs: Any = None, *, name: str = "") -> None:
        super().__init__(secrets, {**self._defaults, **(configs or {})}, name=name)


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
        return ModuleSpec(fullname, self, origin=__file__, is_package=fullname in _PACKAGES)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(_MODULES[module.__name__])


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


_TOOLS = {"tool": tool, "ToolProvider": ToolProvider}
_METRICS = {"log_metric": log_metric, "log_flow_metric": log_metric}
_TRACES = {"trace": trace, "start_trace": start_trace, "ThreadPoolExecutorWithContext": ThreadPoolExecutorWithContext}
_TYPES = {"Secret": PlainSecret, "PromptTemplate": PromptTemplate, "FilePath": FilePath}
_PROMPTIES = {"Prompty": Prompty, "AsyncPrompty": AsyncPrompty}
_CONFIGURATIONS: Mapping[str, object] = {"ModelConfiguration": ModelConfiguration, **CONFIGURATIONS}
_CONNECTIONS = {
    **{name: getattr(connections, name) for name in connections.__all__ if name.endswith("Connection")},
    "CustomStrongTypeConnection": CustomStrongTypeConnection,
}
_MODULES: Mapping[str, Mapping[str, object]] = {
    "promptflow": {**_TOOLS, **_METRICS},
    "promptflow._core": {},
    "promptflow._core.tool": _TOOLS,
    "promptflow.connections": _CONNECTIONS,
    "promptflow.contracts": {},
    "promptflow.contracts.multimedia": {"Image": Image},
    "promptflow.contracts.types": _TYPES,
    "promptflow.core": {**_TOOLS, **_METRICS, **_CONFIGURATIONS, **_PROMPTIES},
    "promptflow.tracing": _TRACES,
    "langstudio": _TOOLS,
    "langstudio.connections": _CONNECTIONS,
    "langstudio.core": {**_TOOLS, **_TRACES},
    "langstudio.types": {"File": File, "Image": Image},
}
"""What each module has."""
_PACKAGES = frozenset(name.rpartition(".")[0] for name in _MODULES)
