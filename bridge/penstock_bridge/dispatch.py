"""From a request to the endpoint of its path, and from any failure to an answer."""

import asyncio
from collections.abc import Awaitable, Callable

from penstock.status import Code
from penstock_bridge.config import BridgeConfig
from penstock_bridge.cors import Cors
from penstock_bridge.errors import Problem, defect, problem
from penstock_bridge.probes import ALIVE_PATH, READY_PATH
from penstock_bridge.reply import Answer, problem_reply
from penstock_bridge.request import Request
from penstock_bridge.router import Found, Router
from penstock_bridge.templates import Template

Endpoint = Callable[[Request, list[str]], Awaitable[Answer]]
"""Answers a request whose path has these raw segments, or raises Problem."""

RETRY_DRAINING_S = 1


class Dispatcher:
    """Answers every request that the listener reads."""

    def __init__(self, config: BridgeConfig) -> None:
        self._prefix = config.prefix
        self._cors = Cors(config.cors_origins)
        self._router: Router[Endpoint] = Router()
        self._under_way: set[asyncio.Task[object]] = set()
        self._idle = asyncio.Event()
        self._draining = False

    def add(self, method: str, template: Template, endpoint: Endpoint, *, head: bool = False) -> None:
        """Adds an endpoint under the base path; with `head` it answers HEAD, too. Raises Conflict where one is."""
        self._router.add(method, template, endpoint)
        if head:
            self._router.add("HEAD", template, endpoint)

    async def __call__(self, request: Request) -> Answer:
        """Answers a request; whatever fails becomes an answer, too."""
        task = request.task
        self._under_way.add(task)
        try:
            return await self._answer(request)
        except Problem as error:
            return problem_reply(error, close=_body_is_left(request) or self._draining)
        except ConnectionError:
            # The client has left, so nobody is to be told; aiohttp would take it for a failure of ours.
            return Answer(close=True)
        except Exception as error:
            return problem_reply(defect(error), close=True)
        finally:
            self._under_way.discard(task)
            if not self._under_way:
                self._idle.set()

    async def drain(self) -> None:
        """Refuses further requests, and returns when none is under way."""
        self._draining = True
        while self._under_way:
            self._idle.clear()
            await self._idle.wait()

    async def stop(self) -> None:
        """Cancels what is under way."""
        self._draining = True
        for task in self._under_way:
            task.cancel()
        await self.drain()

    async def _answer(self, request: Request) -> Answer:
        path = self._inner_path(request.path_raw)
        if self._draining and path != ALIVE_PATH:
            raise _draining()
        if self._cors.enabled:
            self._cors.mark(request)
            if path is not None and self._cors.is_preflight(request):
                return self._cors.preflight(self._router.allowed(path))
        if path is None:
            raise _path_not_found()
        endpoint, segments = self._find(request.method, path)
        return await endpoint(request, segments)

    def _find(self, method: str, path: str) -> Found[Endpoint]:
        found = self._router.find(method, path)
        if found is not None:
            return found
        allowed = self._router.allowed(path)
        if not allowed:
            raise _path_not_found()
        raise problem(
            Code.UNIMPLEMENTED,
            "METHOD_NOT_ALLOWED",
            f"This path answers {', '.join(allowed)}",
            headers=[("Allow", ", ".join(allowed))],
        )

    def _inner_path(self, path: str) -> str | None:
        """The path below the base path; None where it lies elsewhere. Whoever probes need not know the base path."""
        if not self._prefix or path in (ALIVE_PATH, READY_PATH):
            return path
        if not path.startswith(self._prefix):
            return None
        inner = path[len(self._prefix) :]
        if inner.startswith("/"):
            return inner
        # Callers of a hosted flow post to the base path itself, without a slash.
        return None if inner else "/"


def _body_is_left(request: Request) -> bool:
    return request.body_exists and not request.content.is_eof()


def _path_not_found() -> Problem:
    return problem(Code.NOT_FOUND, "PATH_NOT_FOUND", "There is nothing at this path; /docs shows what there is")


def _draining() -> Problem:
    return problem(Code.UNAVAILABLE, "DRAINING", "The bridge is stopping; try again", retry_after_s=RETRY_DRAINING_S)
