"""What a model is to flows: something that answers messages, whole or in pieces.

The JSON of messages, settings and tools is that of OpenAI's chat completions, which other providers speak as well.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """Messages for a model."""

    model: str
    """The model's name; with Azure, the deployment's."""
    messages: Sequence[Json]
    settings: Json = field(default_factory=dict)
    """What else the protocol knows: `temperature`, `max_tokens`, `tools`, `response_format`, … ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A text for a model to go on with: the older protocol, `/completions`."""

    model: str
    prompt: str
    settings: Json = field(default_factory=dict)


ModelRequest = ChatRequest | TextRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """Texts for an embedding model."""

    model: str
    texts: Sequence[str]
    settings: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an answer cost, in tokens."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True, kw_only=True)
class Answer:
    """What a model answered, filled in while it comes."""

    text: str = ""
    """The whole text; of a stream, it stays empty until the end."""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    """The calls that it asks for, in the protocol's form."""
    function_call: dict[str, str] | None = None
    """The call of one of the `functions`, which came before tools: its `name` and its `arguments`."""
    finish_reason: str = ""
    """Why it ended: `stop`, `length`, `tool_calls`."""
    usage: Usage = field(default_factory=Usage)

    @property
    def message(self) -> dict[str, Any]:
        """The answer as a message, to be put after those of the request."""
        calls = {"tool_calls": self.tool_calls, "function_call": self.function_call}
        found = {key: value for key, value in calls.items() if value}
        return {"role": "assistant", "content": self.text or (None if found else ""), **found}


class ChatModel(Protocol):
    """A model behind a connection. It counts the tokens in the record of the node that asks (`usage`).

    Raises:
        UpstreamUnavailable: it cannot be reached, is busy, broke off or fell silent; another try may help.
        ModelRefused: another try would not: the key, the model's name, the length, a content filter.
    """

    async def answer(self, request: ModelRequest) -> Answer:
        """The whole answer. Cancelling the task ends the request at once."""

    def stream(self, request: ModelRequest, answer: Answer) -> AsyncGenerator[str, None]:
        """The pieces of the answer's text as they come, none of them empty.

        Args:
            answer: gets the whole text, the calls, the reason and the usage when the last piece has come.

        Closing the generator, or cancelling the task, ends the request at once.
        """


class EmbeddingModel(Protocol):
    """A model that makes vectors. It counts the tokens and raises as `ChatModel` does."""

    async def embed(self, request: EmbeddingRequest) -> list[list[float]]:
        """The vectors of the texts, in their order; all are of one length."""


class Model(ChatModel, EmbeddingModel, Protocol):
    """All that a connection leads to."""

    async def check(self) -> str:
        """Asks whether it is there and takes the key, once; returns what is worth knowing. Raises as the rest does."""

    async def close(self) -> None:
        """Closes its connections."""
