"""The user's callable: what form it has, and how it is called without blocking the event loop."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from enum import Enum
from typing import Any

from penstock_server.flows.threads import Threads

SLICE_CHUNKS = 64
"""After so many chunks an asynchronous generator lets other tasks run, in case it never waits for anything itself."""


class Form(Enum):
    """The four kinds of function."""

    FUNCTION = "function"
    ASYNC_FUNCTION = "async function"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"


class UserCode:
    """A callable of the user's.

    Attributes:
        target: the callable.
        function: the function behind it, which has the annotations and the docstring.
        form: which kind of function is called. What a decorator hides shows when it returns: `call` copes with it.
        written: which kind of function the user wrote, under the decorators that tell what they wrap.
        signature: the parameters that it takes.
    """

    def __init__(self, target: Callable[..., Any]) -> None:
        self.target = target
        self.function = _function(target)
        self.form = _form(_outer(target))
        self.written = _form(self.function)
        self.signature = inspect.signature(target)
        self._positional = tuple(
            name for name, parameter in self.signature.parameters.items() if parameter.kind is parameter.POSITIONAL_ONLY
        )

    async def call(self, arguments: Mapping[str, object], threads: Threads) -> object:
        """Calls the code; what it returns may be an iterator, asynchronous or not, that is still to be run.

        Raises:
            CodeRaised: code in a thread raised.
            BaseException: code on the loop raised, whatever it is.
        """
        form = self.form
        if form is Form.FUNCTION:
            result = await threads.call(self._bound(arguments))
            return await result if inspect.isawaitable(result) else result
        result = self.call_here(arguments)
        return await result if form is Form.ASYNC_FUNCTION else result  # type: ignore[misc]

    def call_here(self, arguments: Mapping[str, object]) -> object:
        """Calls the code in the calling thread; what it returns may have to be awaited, or be an iterator."""
        return self._bound(arguments)() if self._positional else self.target(**arguments)

    def _bound(self, arguments: Mapping[str, object]) -> Callable[[], Any]:
        rest = dict(arguments)
        positional = [rest.pop(name) for name in self._positional if name in rest]
        return functools.partial(self.target, *positional, **rest)


def is_stream(value: object) -> bool:
    """Whether a result is an iterator, asynchronous or not, rather than a value."""
    return value.__class__ not in _WHOLE and isinstance(value, (Iterator, AsyncIterator))


def is_whole(value: object) -> bool:
    """Whether a result is a value, neither to be awaited nor an iterator."""
    return value.__class__ in _WHOLE or not (is_stream(value) or inspect.isawaitable(value))


async def run_stream(
    source: object, threads: Threads, put: Callable[[object], bool], room: Callable[[], Awaitable[None]]
) -> None:
    """Runs an iterator to its end and hands each chunk to `put`; awaits `room()` whenever `put` says that it is full.

    The items of a list are chunks too, and any other value is the only chunk: code that announced a stream may return
    less. The iterator is closed in every case: an asynchronous one before this returns, another one in its own thread.

    Raises:
        CodeRaised: code in a thread raised.
        BaseException: code on the loop, or `put`, raised.
    """
    if isinstance(source, AsyncIterator):
        await _run_async(source, put, room)
    elif isinstance(source, Iterator):
        async with aclosing(threads.iterate(source)) as batches:
            async for batch in batches:
                await _put_all(batch, put, room)
    else:
        await _put_all(source if isinstance(source, (list, tuple)) else (source,), put, room)


async def gathered(source: object, threads: Threads) -> object:
    """The whole of an iterator, run to its end; raises like `run_stream`."""
    chunks: list[object] = []

    def put(chunk: object) -> bool:
        chunks.append(chunk)
        return True

    await run_stream(source, threads, put, _no_wait)
    return joined(chunks)


def joined(chunks: list[object]) -> object:
    """The whole of a stream: text where all chunks are text, the list of them otherwise."""
    return "".join(chunks) if all(isinstance(chunk, str) for chunk in chunks) else chunks  # type: ignore[arg-type]


async def _put_all(
    chunks: Iterable[object], put: Callable[[object], bool], room: Callable[[], Awaitable[None]]
) -> None:
    for chunk in chunks:
        if not put(chunk):
            await room()


async def _run_async(
    source: AsyncIterator[object], put: Callable[[object], bool], room: Callable[[], Awaitable[None]]
) -> None:
    task = asyncio.current_task()
    count = 0
    try:
        async for chunk in source:
            if not put(chunk):
                await room()
            count += 1
            if count % SLICE_CHUNKS == 0:
                if task is not None and task.cancelling():  # the generator swallowed it
                    raise asyncio.CancelledError
                await asyncio.sleep(0)
    finally:
        if hasattr(source, "aclose"):
            await source.aclose()


async def _no_wait() -> None:
    """Nobody reads, so there is always room."""


def _function(target: Callable[..., Any]) -> Callable[..., Any]:
    function: Callable[..., Any] = inspect.unwrap(_outer(target))
    return function


def _outer(target: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a call enters first."""
    while isinstance(target, functools.partial):
        target = target.func
    return target if inspect.isroutine(target) else type(target).__call__


def _form(function: Callable[..., Any]) -> Form:
    if inspect.iscoroutinefunction(function):
        return Form.ASYNC_FUNCTION
    if inspect.isasyncgenfunction(function):
        return Form.ASYNC_GENERATOR
    return Form.GENERATOR if inspect.isgeneratorfunction(function) else Form.FUNCTION


_WHOLE = frozenset({str, int, float, bool, type(None), dict, list})
"""The classes of most results: asking them what they are is quicker than asking what they are not."""
