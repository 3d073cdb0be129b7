"""What a prompty does when it is called: it renders its template, asks its model, and reads the answer."""

import functools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from inspect import Parameter, Signature
from keyword import iskeyword
from typing import Any

from penstock_server.errors import FlowFailed
from penstock_server.flows.models.chat import Answer, ChatModel, ChatRequest, ModelRequest, TextRequest
from penstock_server.flows.models.messages import to_json
from penstock_server.flows.prompty.declaration import PromptyDeclaration
from penstock_server.flows.threads import Threads


class Prompt:
    """A prompt for a model.

    Args:
        model: answers.
        declared: what it is asked, and how.
    """

    def __init__(self, model: ChatModel, declared: PromptyDeclaration) -> None:
        self._model = model
        self._asked = declared.model
        self._template = declared.template
        self._outputs = list(declared.outputs)

    def request(self, inputs: Mapping[str, object]) -> ModelRequest:
        """What the model is asked with these inputs. It renders the template, so it may block, and raise anything."""
        name, settings = self._asked.name, self._asked.parameters
        if self._asked.api == "completion":
            return TextRequest(model=name, prompt=self._template.render(inputs), settings=settings)
        messages = self._template.messages(inputs)
        return ChatRequest(model=name, messages=[to_json(each) for each in messages], settings=settings)

    def text(self, request: ModelRequest) -> AsyncGenerator[str, None]:
        """The pieces of the answer as they come. Closing the generator ends the request."""
        return self._model.stream(request, Answer())

    async def whole(self, request: ModelRequest) -> Any:
        """The answer: its text, or the object that the text is; its message where it calls a tool.

        Raises:
            FlowFailed: the text is not the JSON that was asked for.
        """
        answer = await self._model.answer(request)
        if self._asked.whole:
            return _told(answer, self._asked.name)
        if answer.tool_calls:
            return answer.message
        return self._parsed(answer.text) if self._asked.is_json else answer.text

    def _parsed(self, text: str) -> object:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise FlowFailed("the model was asked for JSON, and its answer is none") from None
        if not self._outputs:
            return found
        missing = [name for name in self._outputs if not isinstance(found, dict) or name not in found]
        if missing:
            raise FlowFailed(f"the model's answer has no `{missing[0]}`, which is an output of the prompty")
        return {name: found[name] for name in self._outputs}


class StreamedPrompt:
    """A prompt as a callable whose result streams; the template is rendered in a thread."""

    def __init__(self, prompt: Prompt, inputs: Sequence[str], threads: Threads) -> None:
        self._prompt = prompt
        self._threads = threads
        self.__signature__ = _signature(inputs)

    async def __call__(self, /, **inputs: object) -> AsyncIterator[str]:
        """The pieces of the answer."""
        request = await self._threads.call(functools.partial(self._prompt.request, inputs))
        async with aclosing(self._prompt.text(request)) as pieces:
            async for piece in pieces:
                yield piece


class WholePrompt:
    """A prompt as a callable whose result is there at once; the template is rendered in a thread."""

    def __init__(self, prompt: Prompt, inputs: Sequence[str], threads: Threads) -> None:
        self._prompt = prompt
        self._threads = threads
        self.__signature__ = _signature(inputs)

    async def __call__(self, /, **inputs: object) -> Any:
        """The answer."""
        return await self._prompt.whole(await self._threads.call(functools.partial(self._prompt.request, inputs)))


def _signature(inputs: Sequence[str]) -> Signature:
    """The inputs as parameters: the names of some, such as `from`, could not be those of a function."""
    taken = [name for name in inputs if name.isidentifier() and not iskeyword(name)]
    return Signature([Parameter(name, Parameter.KEYWORD_ONLY) for name in taken])


def _told(answer: Answer, model: str) -> dict[str, object]:
    """An answer in the protocol's form, as far as more than one kind of server gives it."""
    choice = {"index": 0, "message": answer.message, "finish_reason": answer.finish_reason}
    tokens = answer.usage
    usage = {
        "prompt_tokens": tokens.input_tokens,
        "completion_tokens": tokens.output_tokens,
        "total_tokens": tokens.input_tokens + tokens.output_tokens,
    }
    return {"object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
