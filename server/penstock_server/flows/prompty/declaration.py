"""What a `*.prompty` file declares, read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.dag import keys
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.flow import HISTORY_ROUNDS_MOST
from penstock_server.flows.inputs import Input
from penstock_server.flows.media.defaults import with_defaults
from penstock_server.flows.problems import Problem
from penstock_server.flows.prompty import model
from penstock_server.flows.prompty.document import KEYS, PromptyDocument
from penstock_server.flows.prompty.model import PromptyModel
from penstock_server.flows.samples import sample_of
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.templates.template import Template, TemplateProblem
from penstock_server.flows.valuetypes import HINTS, read_count, read_input, read_type, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptyDeclaration:
    """A prompty that has no problems."""

    description: str
    model: PromptyModel
    template: Template
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Any]
    """The outputs that are declared, with their type hints."""
    sample: Mapping[str, object] | None
    history_rounds_max: int | None


def read(
    parts: PromptyDocument, path: Path, connections: Connections, settings: FlowSettings, problems: Problems
) -> PromptyDeclaration:
    """Reads a file that is cut in two.

    Args:
        path: the file; beside it are those that it may name.

    Raises:
        FlowLoadError: there are problems; it holds all of them.
    """
    front, folder = parts.front, path.parent
    if not isinstance(front.value, dict):
        problems.add(front, "the front matter must be a mapping with a `model`")
        problems.check()
    keys.check("the front matter", front, KEYS, problems)
    asked = model.read(front.get("model"), folder, connections, problems)
    template = _template(parts.body, path, problems)
    sample = sample_of(front.get("sample"), folder, problems)
    inputs = _inputs(front, folder, sample, settings, problems)
    outputs = _outputs(front, problems)
    rounds = read_count("the front matter", front, "history_rounds_max", HISTORY_ROUNDS_MOST, problems)
    problems.check()
    if asked is None or template is None:
        raise AssertionError("what is missing is a problem")
    return PromptyDeclaration(
        description=text_of(front.get("description")),
        model=asked,
        template=template,
        inputs=inputs,
        outputs=outputs,
        sample=sample,
        history_rounds_max=rounds,
    )


def _template(body: str, path: Path, problems: Problems) -> Template | None:
    try:
        return Template(body, path)
    except TemplateProblem as error:
        text = f"not a Jinja2 template: {error}"
        problems.found.append(Problem(file=problems.file, line=error.line, text=text))
        return None


def _inputs(
    front: Item, folder: Path, sample: Mapping[str, object] | None, settings: FlowSettings, problems: Problems
) -> dict[str, Input]:
    """The inputs that are declared; where none are, those of the sample, each of the type that it has there."""
    item = front.get("inputs")
    if item is None:
        return {name: Input(name=name, hint=_hint_of(value)) for name, value in (sample or {}).items()}
    if not isinstance(item.value, dict):
        problems.add(item, "`inputs` must be a mapping of names to declarations")
    declared = [_input(name, entry, problems) for name, entry in item.entries().items()]
    found = with_defaults(declared, front, folder, settings.media_bytes_max, problems)
    return {each.name: each for each in found}


def _input(name: str, item: Item, problems: Problems) -> Input:
    if not isinstance(item.value, dict):
        problems.add(item, f"input `{name}` must be a mapping, with its `type`")
    keys.check(f"input `{name}`", item, keys.INPUT, problems)
    return read_input(name, item, problems)


def _hint_of(value: object) -> Any:
    kinds: Mapping[type, str] = {bool: "bool", int: "int", float: "double", str: "string", list: "list", dict: "object"}
    return HINTS[kinds[type(value)]] if type(value) in kinds else Any


def _outputs(front: Item, problems: Problems) -> dict[str, Any]:
    item = front.get("outputs")
    if item is not None and not isinstance(item.value, dict):
        problems.add(item, "`outputs` must be a mapping of names to declarations")
    found: dict[str, Any] = {}
    for name, entry in (item.entries() if item else {}).items():
        keys.check(f"output `{name}`", entry, keys.OUTPUT, problems)
        kind = read_type(f"output `{name}`", entry, problems)
        found[name] = HINTS[kind] if kind else Any
    return found
