"""`Prompty` and `AsyncPrompty`, as Python code of flows loads and calls them; prompt flow has them in its core.

    prompty = Prompty.load(source=Path(__file__).parent / "chat.prompty", model={"parameters": {"temperature": 0}})
    answer = prompty(question="why?")

The result is that of the prompty as a flow. It is a generator of pieces only where the parameters say `stream: true`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Self

from penstock.modelconfig import AzureOpenAIModelConfiguration, OpenAIModelConfiguration
from penstock_server.flows.connections import connections
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.inputs import MISSING
from penstock_server.flows.models.chat import ModelRequest
from penstock_server.flows.prompty import declaration, document
from penstock_server.flows.prompty.document import PromptyDocument
from penstock_server.flows.prompty.engine import engine
from penstock_server.flows.prompty.prompt import Prompt
from penstock_server.flows.settings import FlowSettings


class LoadedPrompty:
    """A prompty that code has loaded; what calling it does, its two kinds say.

    Args:
        source: the file.
        model: what counts in place of the file's `model`: `configuration`, a mapping or one of prompt flow's objects;
            `parameters`, which are added to the file's; `api`; `response`.

    Raises:
        FlowLoadError: the file or the model is wrong; it holds every problem.
        ProblemFound: the connection leads to no model.
    """

    settings = FlowSettings()
    """The operator's; whoever loads flows sets them."""

    def __init__(self, source: "str | PathLike[str]", model: Mapping[str, Any] | None = None) -> None:
        path, file = Path(source).absolute(), str(source)
        problems = Problems(file)
        parts = document.read(path, file, self.settings.document_bytes_max)
        if model and isinstance(parts.front.value, dict):
            parts = PromptyDocument(front=_merged(parts.front, {"model": model}), body=parts.body)
        found = connections.of_flow(path.parent, self.settings)
        self._declared = declaration.read(parts, path, found, self.settings, problems)
        self._engine = engine(self.settings.model_timeout_s)
        self._prompt = Prompt(self._engine.models.of(self._declared.model.connection), self._declared)
        self._streams = self._declared.model.is_streaming and self._declared.model.stream is True

    @classmethod
    def load(cls, source: "str | PathLike[str]", model: Mapping[str, Any] | None = None) -> Self:
        """Loads a prompty. See the class."""
        return cls(source, model)

    def render(self, /, **inputs: object) -> str:
        """What the model would be asked, as text."""
        request = self._request(inputs)
        return str(getattr(request, "messages", None) or getattr(request, "prompt", ""))

    def _request(self, inputs: Mapping[str, object]) -> ModelRequest:
        """What the model is asked; inputs that are not declared are left out, as in prompt flow.

        Raises:
            ValueError: an input is missing.
        """
        given = {name: inputs.get(name, each.default) for name, each in self._declared.inputs.items()}
        missing = [name for name, value in given.items() if value is MISSING]
        if missing:
            raise ValueError(f"the prompty needs the inputs {', '.join(missing)}")
        return self._prompt.request(given)


class Prompty(LoadedPrompty):
    """A prompty for synchronous code."""

    def __call__(self, /, **inputs: object) -> Any:
        """The answer; where it streams, a generator of its pieces."""
        request = self._request(inputs)
        if self._streams:
            return self._engine.iterate(self._prompt.text(request))
        return self._engine.submit(self._prompt.whole(request)).result()


class AsyncPrompty(LoadedPrompty):
    """A prompty for asynchronous code."""

    async def __call__(self, /, **inputs: object) -> Any:
        """The answer; where it streams, an asynchronous generator of its pieces."""
        request = await asyncio.to_thread(self._request, inputs)
        if self._streams:
            return self._engine.aiterate(self._prompt.text(request))
        return await asyncio.wrap_future(self._engine.submit(self._prompt.whole(request)))


def _merged(item: Item, values: Mapping[str, Any]) -> Item:
    """A mapping of a document with values of code in it, at any depth; they stand where the mapping does."""
    merged = dict(item.entries())
    for key, value in values.items():
        before = merged.get(key)
        if isinstance(value, Mapping) and before is not None and isinstance(before.value, dict):
            merged[key] = _merged(before, value)
        else:
            merged[key] = _item(_plain(value), before or item)
    return Item(value=merged, line=item.line, column=item.column)


def _plain(value: Any) -> Any:
    """A model configuration, ours or prompt flow's own, as the mapping that documents have for it."""
    if not is_dataclass(value) or isinstance(value, type):
        return value
    given = {key: each for key, each in asdict(value).items() if each is not None}
    return given if "connection" in given else {"type": _TYPES.get(type(value).__name__, ""), **given}


def _item(value: Any, place: Item) -> Item:
    if isinstance(value, Mapping):
        entries = {str(key): _item(_plain(each), place) for key, each in value.items()}
        return Item(value=entries, line=place.line, column=place.column)
    if isinstance(value, (list, tuple)):
        return Item(value=[_item(each, place) for each in value], line=place.line, column=place.column)
    return Item(value=value, line=place.line, column=place.column)


_TYPES = {AzureOpenAIModelConfiguration.__name__: "azure_openai", OpenAIModelConfiguration.__name__: "openai"}
