"""The caller's side of a call in process: `grpc.aio` calls without a transport.

The handler runs in a task and a context of its own, as it would behind a socket. Messages are copied, so that neither
side sees what the other does to its own afterwards; but what a handler returns or yields it has given away. A stream
hands a message over only when the reader asks for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import Message

from penstock_server.inprocess.context import EOF, CallContext, CallDetails, Outcome

logger = logging.getLogger("penstock.server")

CANCELLED_LOCALLY = Outcome(grpc.StatusCode.CANCELLED, "the caller cancelled the call")
CANCELLED_BY_HANDLER = Outcome(grpc.StatusCode.CANCELLED, "the handler was cancelled")
DEADLINE_EXCEEDED = Outcome(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
UNEXPECTED = Outcome(grpc.StatusCode.UNKNOWN, "the handler failed")

Behaviour = Callable[[Any, Any], Any]


def copy(message: Message) -> Message:
    """A message of the same content that shares nothing with this one."""
    duplicate = message.__class__()
    duplicate.CopyFrom(message)
    return duplicate


class InProcessCall:
    """What unary and streaming calls have in common.

    Args:
        behaviour: the guarded handler.
        request: the caller's message, or what stands for one that cannot be read.
        timeout_s: the deadline, from now; None for none.
        live: the calls that have not ended; this one is among them until it has.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        request: Any,
        details: CallDetails,
        timeout_s: float | None,
        live: set[InProcessCall],
    ) -> None:
        self._loop = loop = details.loop
        self._behaviour = behaviour
        self._request = copy(request) if isinstance(request, Message) else request
        deadline_s = None if timeout_s is None else loop.time() + timeout_s
        self._method = details.method
        self._context = CallContext(self._request, details, deadline_s, self._write)
        self._waiters: list[asyncio.Future[None]] = []
        self._timer = None if timeout_s is None else loop.call_later(timeout_s, self.break_off, DEADLINE_EXCEEDED)
        task = loop.create_task(self._serve(), context=contextvars.Context())
        task.add_done_callback(self._served)
        self._task: asyncio.Task[None] | None = task
        self._live = live
        live.add(self)

    def cancelled(self) -> bool:
        """Whether the call ended as CANCELLED."""
        return self._context.cancelled()

    def done(self) -> bool:
        """Whether the call is over."""
        return self._context.done()

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None where there is none."""
        return self._context.time_remaining()

    def cancel(self) -> bool:
        """Cancels the call and the handler's task; False where the call is over already."""
        return self.break_off(CANCELLED_LOCALLY)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls back when the call is over."""
        self._context.add_done_callback(lambda _: callback(self))

    async def initial_metadata(self) -> Any:
        """Waits for the handler to send it; empty where the call ended before."""
        await self._context.headers_sent.wait()
        return self._context.initial_metadata

    async def trailing_metadata(self) -> Any:
        """Waits for the end of the call."""
        return (await self._outcome()).trailing_metadata

    async def code(self) -> grpc.StatusCode:
        """Waits for the end of the call."""
        return (await self._outcome()).code

    async def details(self) -> str:
        """Waits for the end of the call."""
        return (await self._outcome()).details

    async def wait_for_connection(self) -> None:
        """There is nothing to connect to."""

    async def _serve(self) -> None:
        raise TypeError("a call is unary or a stream")

    async def _write(self, message: Message) -> None:
        raise TypeError("a unary call does not write")

    async def _outcome(self) -> Outcome:
        await self.ended()
        assert self._context.ended is not None  # noqa: S101 - that was waited for
        return self._context.ended

    async def ended(self) -> None:
        """Waits for the end of the call."""
        if self._context.ended is None:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def break_off(self, outcome: Outcome) -> bool:
        """Ends the call with this outcome and cancels its handler; False where the call is over already."""
        if self._context.ended is not None:
            return False
        self._end(outcome)
        if self._task is not None:
            self._task.cancel()
        return True

    def _end(self, outcome: Outcome) -> None:
        if self._context.ended is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._live.discard(self)
        self._context.end(outcome)
        for waiter in self._waiters:
            _wake(waiter)

    def _served(self, task: asyncio.Task[None]) -> None:
        """The handler's task is over: the call is too, however it came to that."""
        self._task = None  # whose exception holds this call: together they would be left to the garbage collector
        if task.cancelled():
            self._end(CANCELLED_BY_HANDLER)
        elif isinstance(task.exception(), grpc.aio.AbortError):
            self._end(self._context.outcome())
        elif (error := task.exception()) is not None:
            logger.error("the handler of %s failed outside its guard", self._method, exc_info=error)
            self._end(UNEXPECTED)

    def _raise_unless_ok(self, outcome: Outcome) -> None:
        if outcome is CANCELLED_LOCALLY:
            raise asyncio.CancelledError
        if outcome.code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(
                outcome.code,
                grpc.aio.Metadata(*self._context.initial_metadata),
                grpc.aio.Metadata(*outcome.trailing_metadata),
                outcome.details,
                debug_error_string=None,
            )


class UnaryCall(InProcessCall, grpc.aio.UnaryUnaryCall[Any, Any]):
    """A call with one answer."""

    _response: Message | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        """The answer; raises AioRpcError where the call does not end OK."""
        return self._answer().__await__()

    async def _answer(self) -> Any:
        try:
            outcome = self._context.ended or await self._outcome()
        except asyncio.CancelledError:
            self.cancel()
            raise
        self._raise_unless_ok(outcome)
        return self._response

    async def _serve(self) -> None:
        self._response = await self._behaviour(self._request, self._context)
        self._end(self._context.outcome())


class StreamCall(InProcessCall, grpc.aio.UnaryStreamCall[Any, Any]):
    """A call with a stream of answers."""

    _wanted = False
    _demand: asyncio.Future[None] | None = None
    _supply: asyncio.Future[None] | None = None
    _message: Message | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        """The answers; raises AioRpcError where the call does not end OK."""
        return self._messages()

    async def read(self) -> Any:
        """The next answer, or `grpc.aio.EOF`; raises AioRpcError where the call did not end OK."""
        if self._message is None and self._context.ended is None:
            await self._ask()
        message, self._message = self._message, None
        if message is not None:
            return message
        self._raise_unless_ok(await self._outcome())
        return EOF

    async def _messages(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not EOF:
            yield message

    async def _ask(self) -> None:
        self._wanted = True
        _wake(self._demand)
        self._supply = self._loop.create_future()
        try:
            await self._supply
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            self._supply = None

    async def _write(self, message: Message) -> None:
        await self._hand_over(copy(message))

    async def _hand_over(self, message: Message) -> None:
        # The headers do not wait to be asked for: a caller may want to see them before it reads.
        self._context.headers_sent.set()
        if not self._wanted:
            self._demand = self._loop.create_future()
            try:
                await self._demand
            finally:
                self._demand = None
        self._wanted = False
        self._message = message
        _wake(self._supply)

    async def _serve(self) -> None:
        responses = self._behaviour(self._request, self._context)
        if isinstance(responses, Coroutine):
            await responses
        else:
            # Closed at once when the call is cancelled here, or the handler would live until it is collected.
            async with aclosing(responses):
                async for response in responses:
                    await self._hand_over(response)
        self._end(self._context.outcome())

    def _end(self, outcome: Outcome) -> None:
        super()._end(outcome)
        _wake(self._supply)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
