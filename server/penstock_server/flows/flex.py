"""Flows that are a folder with a `flow.flex.yaml`: a callable of the folder, named by `entry`."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock_server.flows import callable as callables
from penstock_server.flows import document, entry, snapshot
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.inputs import Input
from penstock_server.flows.modules import FlowModules
from penstock_server.flows.problems import FlowLoadError, ProblemFound, did_you_mean
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads
from penstock_server.flows.valuetypes import read_input, text_of


def load(path: Path, file: str, *, threads: Threads, settings: FlowSettings) -> callables.CallableFlow:
    """Loads a flow: imports its entry, and makes an instance with the values of `init` where that is a class.

    The inputs are those of the signature; where the YAML declares one, its type, default and description count.

    Args:
        path: the `flow.flex.yaml`, absolute.
        file: its name in problems.
        threads: where its blocking code executes.
        settings: the limits.

    Raises:
        FlowLoadError: it cannot be served.
    """
    folder = path.parent
    problems = Problems(file)
    yaml = document.read(path, file, settings.document_bytes_max)
    modules = FlowModules(folder)
    try:
        target = _target(yaml, modules, problems)
        declared = _inputs(yaml, target, problems)
        problems.check()
        return callables.make(
            folder.name,
            target,
            snapshot=snapshot.of_folder(folder, settings.snapshot_bytes_max),
            threads=threads,
            settings=settings,
            declared=declared,
            description=text_of(yaml.get("description")),
            modules=modules,
        )
    except ProblemFound as error:
        modules.close()
        place = yaml.get("entry") or yaml
        raise FlowLoadError([*problems.found, error.at(file, place.line, place.column)]) from error
    except BaseException:
        modules.close()
        raise


def _target(yaml: Item, modules: FlowModules, problems: Problems) -> Callable[..., Any]:
    name = text_of(yaml.get("entry"))
    if not name:
        raise ProblemFound("the document must be a mapping with an `entry`", hint="entry: module:callable")
    found = entry.find(name, modules.import_module)
    return entry.called(found, name, _init(yaml, problems), hint="`init` gives a class its arguments")


def _init(yaml: Item, problems: Problems) -> dict[str, object]:
    """The values for the constructor; a declaration with a `type`, prompt flow's form, stands for its default."""
    item = yaml.get("init")
    if item is not None and not isinstance(item.value, dict):
        problems.add(item, "`init` must be a mapping of names to values")
    values: dict[str, object] = {}
    for name, value in (item.entries() if item else {}).items():
        if value.get("type") is None:
            values[name] = value.plain()
        elif (default := value.get("default")) is not None:
            values[name] = default.plain()
    return values


def _inputs(yaml: Item, target: Callable[..., Any], problems: Problems) -> Mapping[str, Input]:
    item = yaml.get("inputs")
    if item is not None and not isinstance(item.value, dict):
        problems.add(item, "`inputs` must be a mapping of names to declarations")
    parameters = inspect.signature(target).parameters
    takes_others = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    declared: dict[str, Input] = {}
    for name, entry_item in (item.entries() if item else {}).items():
        if name not in parameters and not takes_others:
            text = f"input `{name}`: the entry has no such parameter"
            problems.add(entry_item, text, hint=did_you_mean(name, list(parameters)))
        declared[name] = read_input(name, entry_item, problems)
    return declared
