"""Flows that are a `*.prompty` file: a prompt, the model that answers it, and its inputs."""

from pathlib import Path
from typing import Any

from penstock_server.flows import callable as callables
from penstock_server.flows.document import Problems
from penstock_server.flows.folder import FlowFolder
from penstock_server.flows.models.models import Models
from penstock_server.flows.problems import FlowLoadError, ProblemFound
from penstock_server.flows.prompty import declaration, document
from penstock_server.flows.prompty.declaration import PromptyDeclaration
from penstock_server.flows.prompty.prompt import Prompt, StreamedPrompt, WholePrompt
from penstock_server.flows.returns import UNKNOWN
from penstock_server.flows.schemas import typed_dict
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads


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
    folder = FlowFolder(path.parent, parts.front, problems, settings)
    models = Models(silence_timeout_s=settings.model_timeout_s)
    try:
        declared = declaration.read(parts, path, folder.connections, settings, problems)
        prompt = Prompt(models.of(declared.model.connection), declared)
        return callables.make(
            flow,
            (StreamedPrompt if declared.model.is_streaming else WholePrompt)(prompt, list(declared.inputs), threads),
            snapshot=folder.snapshot,
            threads=threads,
            settings=settings,
            declared=declared.inputs,
            returns=_returns(declared),
            description=declared.description,
            sample=declared.sample,
            history_rounds_max=declared.history_rounds_max,
            close=folder.close,
            models=models,
        )
    except ProblemFound as error:
        folder.close()
        place = parts.front.get("model") or parts.front
        raise FlowLoadError([error.at(file, place.line, place.column)]) from error
    except BaseException:
        folder.close()
        raise


def _returns(declared: PromptyDeclaration) -> Any:
    """What is known of the result, as a type hint."""
    asked = declared.model
    if asked.is_streaming:
        return UNKNOWN  # the callable says it
    if asked.whole:
        return dict[str, Any]
    if asked.is_json:
        return typed_dict("Outputs", declared.outputs) if declared.outputs else dict[str, Any]
    return Any if asked.has_tools else str
