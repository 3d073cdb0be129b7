"""The Python files of a flow's folder, importable for the code of that flow and for nothing else.

Flows have files of the same names, `utils.py` first of all, and import them by those names: when they start, and
later, from inside functions, in threads and on the loop. One table of modules would give one flow another's files.

So a folder is a package here, with a name of its own: its `utils.py` is `penstock_flow_1_shop.utils` in `sys.modules`,
and Python's import system loads it like any submodule, with its locks and its caches. What makes `import utils` mean
that module is the `__import__` of the flow's code: `import` looks it up among the builtins of the module in which it
stands, and each module of a flow gets builtins of its own. Neither threads nor time matter to that. A module of the
folder goes before an installed one of the same name, as with `python script.py`; a folder without `__init__.py` after.

`importlib` is one of their own for the flow's modules, whose `import_module` does the same. What this does not reach:
`sys.path` and the current folder, which all flows share, and processes that the flow's code spawns, where the package
is unknown. Flow code that replaces a builtin for everybody does not replace it for flows.
"""

import builtins
import importlib
import importlib.util
import itertools
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

MAIN = "__pf_main__"
"""The `__name__` in which the file of a Python node executes, as it does in prompt flow."""


class FlowModules:
    """The modules of one flow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._package = f"penstock_flow_{next(_NUMBERS)}_{re.sub(r'[^a-zA-Z0-9_]', '_', folder.name)}"
        own_importlib = ModuleType("importlib")
        own_importlib.__dict__.update(import_module=self._imported, __getattr__=partial(getattr, importlib))
        self._builtins = {**vars(builtins), "__import__": _importer(self._package, self._is_local, own_importlib)}
        self._local: dict[str, bool] = {}
        self._finder = _Finder(self._package, self._builtins)
        package = ModuleType(self._package)
        package.__path__ = [str(folder)]
        sys.modules[self._package] = package
        importlib.invalidate_caches()  # the folder may be newer than the last look at it
        sys.meta_path.insert(0, self._finder)

    def execute_file(self, path: Path) -> ModuleType:
        """Executes a file of the folder as the main file of a node, as often as it is called."""
        loader = _Loader(MAIN, str(path), self._builtins)
        spec = spec_from_file_location(MAIN, path, loader=loader)
        assert spec is not None  # noqa: S101 - it has a loader
        module = module_from_spec(spec)
        with _MAIN_LOCK, _registered(MAIN, module):
            loader.exec_module(module)
        self._rename(module, path)
        return module

    def import_module(self, name: str) -> ModuleType:
        """Imports a module of the folder, or an installed one."""
        return self._imported(name)

    def close(self) -> None:
        """Forgets the modules."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{self._package}.")]:
            del sys.modules[name]

    def _imported(self, name: str, package: str | None = None) -> ModuleType:
        """What the `importlib.import_module` of the flow's code does."""
        name = importlib.util.resolve_name(name, package)
        if self._is_local(name.partition(".")[0]):
            name = f"{self._package}.{name}"
        return importlib.import_module(name)

    def _is_local(self, name: str) -> bool:
        known = self._local.get(name)
        if known is None:
            known = self._local[name] = self._find_local(name)
        return known

    def _find_local(self, name: str) -> bool:
        spec = PathFinder.find_spec(name, [str(self._folder)])
        if spec is None:
            return False
        return spec.loader is not None or not (name in sys.modules or importlib.util.find_spec(name))

    def _rename(self, module: ModuleType, path: Path) -> None:
        """Gives the classes of a main file a module that can be looked up: their annotations may be text."""
        name = f"{self._package}.{MAIN}:{path.relative_to(self._folder).as_posix()}"
        sys.modules[name] = module
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == MAIN:
                value.__module__ = name


class _Loader(SourceFileLoader):
    """Loads a file as a module with the builtins of its flow."""

    def __init__(self, name: str, path: str, flow_builtins: Mapping[str, Any]) -> None:
        super().__init__(name, path)
        self._builtins = flow_builtins

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._builtins
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules of one flow's package."""

    def __init__(self, package: str, flow_builtins: Mapping[str, Any]) -> None:
        self._prefix = f"{package}."
        self._builtins = flow_builtins

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(self._prefix):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(fullname, spec.loader.path, self._builtins)
        return spec


@contextmanager
def _registered(name: str, module: ModuleType) -> Iterator[None]:
    """Puts a module into `sys.modules` for a while: classes look their own module up while they are made."""
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


def _importer(package: str, is_local: Callable[[str], bool], own_importlib: ModuleType) -> Callable[..., Any]:
    """The `__import__` of a flow's code; its parameters are those of `builtins.__import__`."""
    regular = builtins.__import__

    def flow_import(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        top = name.partition(".")[0]
        if level or not is_local(top):
            module = regular(name, globals, locals, fromlist, level)
            return own_importlib if module is importlib else module
        module = regular(f"{package}.{name}", globals, locals, fromlist, 0)
        return module if fromlist else sys.modules[f"{package}.{top}"]

    return flow_import


_NUMBERS = itertools.count(1)
_MAIN_LOCK = threading.Lock()
