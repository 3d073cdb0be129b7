"""Where prompties ask their models that Python code has loaded: an event loop of its own, for any code to wait for.

Code that calls a prompty may be synchronous, in some thread, or asynchronous, in some loop. Connections to models
belong to one loop, and are worth keeping.
"""

import asyncio
import functools
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import aclosing, suppress
from typing import Any

from penstock_server.flows.models.models import Models


class Engine:
    """An event loop in a thread that ends with the process.

    Args:
        silence_timeout_s: how long a model may say nothing.

    Attributes:
        models: the models; what they do is done in the loop.
    """

    def __init__(self, silence_timeout_s: float) -> None:
        self.models = Models(silence_timeout_s=silence_timeout_s)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="penstock-prompty", daemon=True).start()

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Runs a coroutine, in the context of the caller; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def iterate(self, pieces: AsyncGenerator[str, None]) -> Iterator[str]:
        """The pieces, for synchronous code. Closing the iterator closes the generator."""
        taken: queue.SimpleQueue[Any] = queue.SimpleQueue()
        pump = self.submit(_pumped(pieces, taken.put))
        pump.add_done_callback(lambda _: taken.put(_END))
        try:
            while (piece := taken.get()) is not _END:
                yield piece
            pump.result()
        finally:
            pump.cancel()

    async def aiterate(self, pieces: AsyncGenerator[str, None]) -> AsyncIterator[str]:
        """The same for asynchronous code, in any loop."""
        taken: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(piece: object) -> None:
            with suppress(RuntimeError):  # the reader's loop is closed, and so nobody reads
                loop.call_soon_threadsafe(taken.put_nowait, piece)

        pump = self.submit(_pumped(pieces, put))
        pump.add_done_callback(lambda _: put(_END))
        try:
            while (piece := await taken.get()) is not _END:
                yield piece
            pump.result()
        finally:
            pump.cancel()


@functools.cache
def engine(silence_timeout_s: float) -> Engine:
    """The one engine of the process with this limit, started when it is first asked for."""
    return Engine(silence_timeout_s)


async def _pumped(pieces: AsyncGenerator[str, None], put: Callable[[str], object]) -> None:
    async with aclosing(pieces):
        async for piece in pieces:
            put(piece)


_END = object()
