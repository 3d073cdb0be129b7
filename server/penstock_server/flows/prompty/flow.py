"""Flows that are a `*.prompty` file: a prompt, the model that answers it, and its inputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock_server.flows import callable as callables
from penstock_server.flows.dag import keys
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.folder import FlowFolder
from penstock_server.flows.inputs import Input
from penstock_server.flows.media.defaults import with_defaults
from penstock_server.flows.models.models import Models
from penstock_server.flows.problems import FlowLoadError, Problem, ProblemFound
from penstock_server.flows.prompty import document, model
from penstock_server.flows.prompty.document import KEYS, PromptyDocument
from penstock_server.flows.prompty.model import PromptyModel
from penstock_server.flows.prompty.prompt import Prompt, StreamedPrompt, WholePrompt
from penstock_server.flows.returns import UNKNOWN
from penstock_server.flows.samples import sample_of
from penstock_server.flows.schemas import typed_dict
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.templates.template import Template, TemplateProblem
from penstock_server.flows.threads import Threads
from penstock_server.flows.valuetypes import HINTS, read_input, read_type, text_of


def load(path: Path, file: str, *, flow: str, threads: Threads, settings: FlowSettings) -> callables.CallableFlow:
    """Loads a prompty.

    Args:
        path: the file, absolute.
        file: its name in problems.
        flow: the flow's id.
        threads: where its template is rendered.
        settings: the limits.

    Raises:
        FlowLoadError: it cannot be served.
    """
    problems = Problems(file)
    parts = document.read(path, file, settings.document_bytes_max)
    front = parts.front
    if not isinstance(front.value, dict):
        problems.add(front, "the front matter must be a mapping with a `model`")
        problems.check()
    keys.check("the front matter", front, KEYS, problems)
    folder = FlowFolder(path.parent, front, problems, settings)
    try:
        return _made(path, parts, folder, problems, flow=flow, threads=threads, settings=settings)
    except ProblemFound as error:
        folder.close()
        raise FlowLoadError([error.at(file)]) from error
    except BaseException:
        folder.close()
        raise


def _made(
    path: Path,
    parts: PromptyDocument,
    folder: FlowFolder,
    problems: Problems,
    *,
    flow: str,
    threads: Threads,
    settings: FlowSettings,
) -> callables.CallableFlow:
    front = parts.front
    asked = model.read(front.get("model"), folder.path, folder.connections, problems)
    template = _template(parts.body, path, problems)
    sample = sample_of(front.get("sample"), folder.path, problems)
    inputs = _inputs(front, folder.path, sample, settings, problems)
    outputs = _outputs(front, problems)
    models = Models(silence_timeout_s=settings.model_timeout_s)
    chat_model = _chat_model(asked, models, front, problems)
    problems.check()
    if asked is None or template is None:
        raise AssertionError("what is missing is a problem")
    prompt = Prompt(chat_model, asked, template, threads, list(outputs))
    return callables.make(
        flow,
        (StreamedPrompt if asked.is_streaming else WholePrompt)(prompt, list(inputs)),
        snapshot=folder.snapshot,
        threads=threads,
        settings=settings,
        declared=inputs,
        returns=_returns(asked, outputs),
        description=text_of(front.get("description")),
        sample=sample,
        close=folder.close,
        models=models,
    )


def _template(body: str, path: Path, problems: Problems) -> Template | None:
    try:
        return Template(body, path)
    except TemplateProblem as error:
        text = f"not a Jinja2 template: {error}"
        problems.found.append(Problem(file=problems.file, line=error.line, text=text))
        return None


def _chat_model(asked: PromptyModel | None, models: Models, front: Item, problems: Problems) -> Any:
    if asked is None:
        return None
    try:
        return models.of(asked.connection)
    except ProblemFound as error:
        problems.add(front.get("model"), error.text, hint=error.hint)
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
    """The outputs that are declared, with their type hints."""
    item = front.get("outputs")
    if item is not None and not isinstance(item.value, dict):
        problems.add(item, "`outputs` must be a mapping of names to declarations")
    found: dict[str, Any] = {}
    for name, entry in (item.entries() if item else {}).items():
        keys.check(f"output `{name}`", entry, keys.OUTPUT, problems)
        kind = read_type(f"output `{name}`", entry, problems)
        found[name] = HINTS[kind] if kind else Any
    return found


def _returns(asked: PromptyModel, outputs: Mapping[str, Any]) -> Any:
    """What is known of the result, as a type hint."""
    if asked.is_streaming:
        return UNKNOWN  # the callable says it
    if asked.whole:
        return dict[str, Any]
    if asked.is_json:
        return typed_dict("Outputs", outputs) if outputs else dict[str, Any]
    return Any if asked.has_tools else str
