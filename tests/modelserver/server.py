"""A server that speaks OpenAI's protocol and answers by rule, over a real socket.

The name of the model that a request asks for says what happens: `answers.py` and `faults.py` list them. Azure's paths,
where the deployment stands in the path and the key in `api-key`, work as well.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.modelserver import answers, faults
from tests.modelserver.chunks import DONE, Chunks, completion, message, text_completion

SLOW_TOKEN_S = 0.05


@dataclass(kw_only=True)
class Seen:
    """A request that came."""

    path: str
    model: str
    key: str
    body: dict[str, Any]
    headers: dict[str, str]
    sent: int = 0
    """How many chunks have been sent."""
    left_at: float | None = None
    """When its caller closed the connection before the end, on `time.monotonic`."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self) -> dict[str, Any]:
        """As JSON, for those who watch from another process."""
        return {"path": self.path, "model": self.model, "sent": self.sent, "left_at": self.left_at}


class ModelServer:
    """The server; `url` is its base address once `serving` has begun."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        """How many TCP connections have brought requests."""
        self.url = ""
        self._keys = frozenset(keys)
        self._transports: set[int] = set()

    @asynccontextmanager
    async def serving(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator["ModelServer"]:
        """Answers until the block ends."""
        app = web.Application(client_max_size=64 * 2**20)
        for prefix in ("/v1", "/openai/deployments/{model}"):
            app.router.add_post(f"{prefix}/chat/completions", self._chat)
            app.router.add_post(f"{prefix}/completions", self._completion)
            app.router.add_post(f"{prefix}/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/openai/models", self._models)
        app.router.add_get("/seen", self._told)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            self.url = f"http://{host}:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        seen, refused = await self._received(request)
        if refused is not None:
            return refused
        body = seen.body
        if seen.model == "hang":
            await self._hang(seen)
        calls = answers.tool_calls(body)
        text = "" if calls or seen.model == "empty" else answers.said(body)
        if not body.get("stream"):
            usage = (answers.token_count(body), len(answers.tokens(text)))
            finish = "content_filter" if seen.model == "filtered-answer" else None
            said = message(text, calls, answers.function_call(body))
            return web.json_response(completion(seen.model, said, usage, finish))
        chunks = Chunks(body, calls)
        return await self._streamed(request, seen, chunks.all(answers.tokens(text), answers.token_count(body)))

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        seen, refused = await self._received(request)
        if refused is not None:
            return refused
        text = f"{seen.body['prompt']}, and so on"
        words = answers.tokens(text)
        if not seen.body.get("stream"):
            return web.json_response(text_completion(seen.model, text, (answers.token_count(seen.body), len(words))))
        usage = (answers.token_count(seen.body), len(words))
        chunks = [text_completion(seen.model, word) for word in words]
        asked = (seen.body.get("stream_options") or {}).get("include_usage")
        last = [{**text_completion(seen.model, "", usage), "choices": []}] if asked else []
        return await self._streamed(request, seen, [*chunks, *last])

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        seen, refused = await self._received(request)
        if refused is not None:
            return refused
        if seen.model == "hang":
            await self._hang(seen)
        given = seen.body["input"]
        texts = [given] if isinstance(given, str) else given
        dimensions = seen.body.get("dimensions", 8)
        vectors = [answers.vector(text, dimensions) for text in texts]
        data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(vectors)]
        if seen.model == "short":
            data = data[1:]
        elif seen.model == "malformed":
            data[0]["embedding"] = "not a vector"
        count = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": count, "total_tokens": count}
        return web.json_response({"object": "list", "model": seen.model, "data": data, "usage": usage})

    async def _models(self, request: web.Request) -> web.Response:
        refused = faults.refusal("echo", _key(request), self._keys, 0, 0)
        if refused is not None:
            return web.json_response(refused.body, status=refused.status)
        data = [{"id": name, "object": "model"} for name in faults.KNOWN_MODELS.split()]
        return web.json_response({"object": "list", "data": data})

    async def _told(self, request: web.Request) -> web.Response:
        return web.json_response([seen.told() for seen in self.seen])

    async def _received(self, request: web.Request) -> tuple[Seen, web.Response | None]:
        if id(request.transport) not in self._transports:
            self._transports.add(id(request.transport))
            self.connections += 1
        body = await request.json()
        model = request.match_info.get("model") or body["model"]
        body["model"] = model
        earlier = sum(each.model == model for each in self.seen)
        seen = Seen(path=request.path, model=model, key=_key(request), body=body, headers=dict(request.headers))
        self.seen.append(seen)
        found = faults.refusal(model, seen.key, self._keys, answers.token_count(body), earlier)
        if found is None:
            return seen, None
        if model == "html":
            return seen, web.Response(text=found.message, status=found.status, content_type="text/html")
        return seen, web.json_response(found.body, status=found.status, headers=found.headers)

    async def _streamed(self, request: web.Request, seen: Seen, chunks: Iterable[dict[str, Any]]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for chunk in chunks:
                await self._misbehave(request, response, seen)
                await response.write(Chunks.encoded(chunk))
                seen.sent += 1
            if seen.model != "no-end":
                await response.write(DONE)
        except (asyncio.CancelledError, ConnectionError):
            seen.left_at = time.monotonic()
            raise
        finally:
            seen.ended.set()
        return response

    async def _misbehave(self, request: web.Request, response: web.StreamResponse, seen: Seen) -> None:
        """What the model's name asks for, before the next chunk."""
        pace = answers.COUNT.fullmatch(seen.model)
        if pace and pace[2]:
            await asyncio.sleep(1 / int(pace[2]))
        match seen.model, seen.sent:
            case ("slow", _):
                await asyncio.sleep(SLOW_TOKEN_S)
            case ("hang-midway", 3):
                await self._hang(seen)
            case ("cut", 3) | ("cut-first", 0):
                assert request.transport is not None
                request.transport.abort()
                raise ConnectionResetError
            case ("malformed", 3):
                await response.write(b"data: {not json\n\n")
            case ("malformed-json", 3):
                await response.write(b'data: ["a list"]\n\n')
            case ("error-midway", 3):
                await response.write(
                    Chunks.encoded({"error": {"message": "The engine broke.", "code": "server_error"}})
                )

    async def _hang(self, seen: Seen) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.left_at = time.monotonic()
            seen.ended.set()
            raise


def _key(request: web.Request) -> str:
    return request.headers.get("api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
