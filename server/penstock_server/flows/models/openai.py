"""Models that speak OpenAI's protocol, through the `openai` SDK: requests, retries, authentication and pools are its.

Importing this module needs the package; `models.py` imports it when a flow needs a model.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any

import openai
from openai import AsyncAzureOpenAI, AsyncOpenAI, AsyncStream, DefaultAsyncHttpxClient, Omit

from penstock.connections import AzureOpenAIConnection, Connection
from penstock_server.flows.models import faults
from penstock_server.flows.models.chat import Answer, ChatRequest, EmbeddingRequest, ModelRequest
from penstock_server.flows.models.embeddings import bodies_of, usage_of, vectors_of
from penstock_server.flows.models.events import EventData
from penstock_server.flows.models.faults import Asked
from penstock_server.flows.models.parts import Parts
from penstock_server.flows.models.usage import count

OPENAI_URL = "https://api.openai.com/v1"
CONNECT_TIMEOUT_S = 5.0
RETRIES_MAX = 2
RETRY_AFTER_S_MAX = 20.0
"""A server that asks for more patience is not waited for: the caller is told when to come back."""
DRAIN_TIMEOUT_S = 0.05
"""How long the end of a response may follow on the last event; a connection whose response ended is used again."""


class OpenAIModel:
    """See `Model`.

    Args:
        silence_timeout_s: how long the server may say nothing: until its answer begins, retries included, and between
            two pieces of it.
    """

    def __init__(self, connection: Connection, *, silence_timeout_s: float) -> None:
        self._connection = connection
        self._silence_timeout_s = silence_timeout_s
        self._client = _client(connection, silence_timeout_s)
        # A server that wants no key gets none: the SDK takes this option for a request, not for a client.
        self._options: Any = {} if connection.api_key else {"headers": {"Authorization": Omit()}}
        self._tells_usage = True

    async def answer(self, request: ModelRequest) -> Answer:
        """See `ChatModel.answer`."""
        parts = Parts(self._asked(request.model))
        with faults.translated(parts.asked):
            async with asyncio.timeout(self._silence_timeout_s):
                body = await self._client.post(
                    _path(request), body=_body(request), cast_to=object, options=self._options
                )
        parts.whole(body)
        count(parts.answer.usage)
        return parts.ended(Answer())

    async def stream(self, request: ModelRequest, answer: Answer) -> AsyncGenerator[str, None]:
        """See `ChatModel.stream`."""
        parts = Parts(self._asked(request.model))
        with faults.translated(parts.asked):
            async with asyncio.timeout(self._silence_timeout_s):
                response = await self._opened(request)
        received = response.aiter_bytes()
        decoder = EventData()
        try:
            while not parts.done and not decoder.ended:
                for data in await _next(received, decoder, parts.asked):
                    if text := parts.event(data):
                        yield text
            if not decoder.ended:
                await _drain(received)
        finally:
            count(parts.answer.usage)
            await response.aclose()
        parts.ended(answer)

    async def embed(self, request: EmbeddingRequest) -> list[list[float]]:
        """See `EmbeddingModel.embed`."""
        asked = self._asked(request.model)
        vectors: list[list[float]] = []
        for body in bodies_of(request):
            with faults.translated(asked):
                async with asyncio.timeout(self._silence_timeout_s):
                    found = await self._client.post("/embeddings", body=body, cast_to=object, options=self._options)
            vectors += vectors_of(found, len(body["input"]), asked)
            count(usage_of(found))
        return vectors

    async def check(self) -> str:
        """Asks the server for its models; returns what is worth knowing. Raises as `answer` does."""
        with faults.translated(self._asked("")):
            async with asyncio.timeout(self._silence_timeout_s):
                body = await self._client.with_options(max_retries=0).get(
                    "/models", cast_to=object, options=self._options
                )
        models = body.get("data") if isinstance(body, dict) else None
        return f"{len(models)} models" if isinstance(models, list) else "it answers"

    async def close(self) -> None:
        """Closes the pool."""
        await self._client.close()

    def _asked(self, model: str) -> Asked:
        """Who is asked, and how failures name it.

        Raises:
            ModelRefused: the name is none; Azure's stand in the path of the address, and a caller may choose them.
        """
        asked = Asked(connection=self._connection, model=model, silence_timeout_s=self._silence_timeout_s)
        if isinstance(self._connection, AzureOpenAIConnection) and not re.fullmatch(r"(?:\w[\w.-]{0,63})?", model):
            raise asked.refused("cannot be asked: this is no name of a deployment")
        return asked

    async def _opened(self, request: ModelRequest) -> Any:
        """The response, whose events are still to come.

        Servers and versions of Azure that are older than `stream_options` refuse it: then nobody counts the tokens.
        """
        body = _body(request) | {"stream": True}
        if self._tells_usage:
            try:
                return await self._post(request, body | {"stream_options": {"include_usage": True}})
            except openai.BadRequestError as error:
                if "stream_options" not in error.message:
                    raise
                self._tells_usage = False
        return await self._post(request, body)

    async def _post(self, request: ModelRequest, body: dict[str, Any]) -> Any:
        stream = await self._client.post(
            _path(request),
            body=body,
            cast_to=object,
            options=self._options,
            stream=True,
            stream_cls=AsyncStream[object],
        )
        return stream.response


def _client(connection: Connection, silence_timeout_s: float) -> AsyncOpenAI:
    """The SDK's client, with nothing taken from the environment: variables must not send a key somewhere else."""
    timeout = openai.Timeout(silence_timeout_s, connect=CONNECT_TIMEOUT_S)
    organization = connection.configs.get("organization")
    options: dict[str, Any] = {
        "api_key": connection.api_key or "none",
        "default_headers": {"OpenAI-Organization": organization or Omit(), "OpenAI-Project": Omit()},
        "max_retries": RETRIES_MAX,
        "timeout": timeout,
        "http_client": DefaultAsyncHttpxClient(timeout=timeout, event_hooks={"response": [_impatient]}),
    }
    client: AsyncOpenAI
    if isinstance(connection, AzureOpenAIConnection):
        endpoint, version = connection.api_base, connection.api_version
        client = AsyncAzureOpenAI(azure_endpoint=endpoint, api_version=version, **options)
    else:
        client = AsyncOpenAI(base_url=connection.base_url or OPENAI_URL, **options)
    client.admin_api_key = None
    return client


async def _impatient(response: Any) -> None:
    """Tells the SDK, by the header that it obeys, not to wait longer than `RETRY_AFTER_S_MAX`."""
    wait_s = faults.retry_after_s(response.headers)
    if wait_s is not None and wait_s > RETRY_AFTER_S_MAX:
        response.headers["x-should-retry"] = "false"


def _path(request: ModelRequest) -> str:
    return "/chat/completions" if isinstance(request, ChatRequest) else "/completions"


def _body(request: ModelRequest) -> dict[str, Any]:
    given = {"messages": list(request.messages)} if isinstance(request, ChatRequest) else {"prompt": request.prompt}
    return {"model": request.model, **given, **request.settings}


async def _next(received: AsyncIterator[bytes], decoder: EventData, asked: Asked) -> list[bytes]:
    """The data of the events that the next bytes complete."""
    with faults.translated(asked):
        chunk = await anext(received, None)
        return list(decoder.rest() if chunk is None else decoder.feed(chunk))


async def _drain(received: AsyncIterator[bytes]) -> None:
    """Reads what follows on the last event, which is nothing: the answer is complete, whatever happens here."""
    with suppress(TimeoutError, faults.httpx.RequestError):
        async with asyncio.timeout(DRAIN_TIMEOUT_S):
            async for _ in received:
                pass
