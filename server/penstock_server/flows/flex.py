"""Flows that are a folder with a `flow.flex.yaml`: a callable of the folder, named by `entry`."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock_server.flows import callable as callables
from penstock_server.flows import document, entry
from penstock_server.flows.dag import keys
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.flexinit import init_values
from penstock_server.flows.flow import HISTORY_ROUNDS_MOST
from penstock_server.flows.folder import FlowFolder
from penstock_server.flows.inputs import Input
from penstock_server.flows.media.defaults import with_defaults
from penstock_server.flows.problems import FlowLoadError, ProblemFound, did_you_mean
from penstock_server.flows.samples import sample_of
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads
from penstock_server.flows.valuetypes import read_count, read_input, text_of

KEYS = (
    "entry", "inputs", "outputs", "init", "sample", "description", "history_rounds_max", "environment",
    "environment_variables", "additional_includes", "$schema", "id", "name", "display_name", "type", "path", "tags",
    "version", "language", "code", "metadata",
)  # fmt: skip
"""The keys of the document; those from `outputs` on that nothing here reads are taken, and change nothing."""


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
    problems = Problems(file)
    yaml = document.read(path, file, settings.document_bytes_max)
    keys.check("the document", yaml, KEYS, problems)
    folder = FlowFolder(path.parent, yaml, problems, settings)
    try:
        target = _target(yaml, folder, problems)
        inputs = _inputs(yaml, target, problems)
        sample = sample_of(yaml.get("sample"), folder.path, problems)
        declared = with_defaults(inputs, yaml, folder.path, settings.media_bytes_max, problems)
        rounds = read_count("the document", yaml, "history_rounds_max", HISTORY_ROUNDS_MOST, problems)
        problems.check()
        return callables.make(
            path.parent.name,
            target,
            snapshot=folder.snapshot,
            threads=threads,
            settings=settings,
            declared={each.name: each for each in declared},
            sample=sample,
            history_rounds_max=rounds,
            description=text_of(yaml.get("description")) or None,
            close=folder.close,
        )
    except ProblemFound as error:
        folder.close()
        place = yaml.get("entry") or yaml
        raise FlowLoadError([*problems.found, error.at(file, place.line, place.column)]) from error
    except BaseException:
        folder.close()
        raise


def _target(yaml: Item, folder: FlowFolder, problems: Problems) -> Callable[..., Any]:
    name = text_of(yaml.get("entry"))
    if not name:
        raise ProblemFound("the document must be a mapping with an `entry`", hint="entry: module:callable")
    found = entry.find(name, folder.modules.import_module)
    init = init_values(yaml, found, folder.path, folder.connections.get, problems)
    problems.check()
    return entry.called(found, name, init, hint="`init` gives a class its arguments")


def _inputs(yaml: Item, target: Callable[..., Any], problems: Problems) -> list[Input]:
    item = yaml.get("inputs")
    if item is not None and not isinstance(item.value, dict):
        problems.add(item, "`inputs` must be a mapping of names to declarations")
    parameters = inspect.signature(target).parameters
    takes_others = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    declared: list[Input] = []
    for name, entry_item in (item.entries() if item else {}).items():
        keys.check(f"input `{name}`", entry_item, keys.INPUT, problems)
        if name not in parameters and not takes_others:
            text = f"input `{name}`: the entry has no such parameter"
            problems.add(entry_item, text, hint=did_you_mean(name, list(parameters)))
        declared.append(read_input(name, entry_item, problems))
    return declared
