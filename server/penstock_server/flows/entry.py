"""Entries: `module:callable`, as targets and `flow.flex.yaml` name them."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from penstock_server.flows.failures import user_trace
from penstock_server.flows.problems import ProblemFound, did_you_mean


def find(entry: str, import_module: Callable[[str], ModuleType]) -> Any:
    """What an entry names: it imports the module and follows the attributes.

    Raises:
        ProblemFound: there is no such module or attribute, or the module raised.
    """
    module_name, colon, path = entry.partition(":")
    if not (module_name and colon and path):
        raise ProblemFound(f"`{entry}` is not of the form module:callable")
    return _attribute(_imported(module_name, import_module), module_name, path)


def called(found: Any, name: str, init: Mapping[str, object], *, hint: str) -> Callable[..., Any]:
    """The callable that was found; of a class, an instance made with `init`.

    Raises:
        ProblemFound: it cannot be called, or the class raised.
    """
    if not isinstance(found, type):
        if not callable(found):
            raise ProblemFound(f"`{name}` is a {type(found).__name__}, which cannot be called")
        return found  # type: ignore[no-any-return]
    try:
        instance = found(**init)
    except BaseException as error:
        raise _raised(name, error, hint if isinstance(error, TypeError) else "") from error
    if not callable(instance):
        raise ProblemFound(f"the class `{name}` has no `__call__`")
    return instance  # type: ignore[no-any-return]


def _imported(name: str, import_module: Callable[[str], ModuleType]) -> ModuleType:
    try:
        return import_module(name)
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ProblemFound(f"there is no module `{name}`") from None
        raise _raised(name, error) from error


def _raised(name: str, error: BaseException, hint: str = "") -> ProblemFound:
    if isinstance(error, KeyboardInterrupt):
        raise error
    return ProblemFound(f"`{name}` raised {type(error).__name__}: {error}", hint=hint, trace=user_trace(error))


def _attribute(module: ModuleType, module_name: str, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        if not hasattr(found, name):
            known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise ProblemFound(f"`{module_name}` has no `{path}`", hint=did_you_mean(name, known))
        found = getattr(found, name)
    return found
