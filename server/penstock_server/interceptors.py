"""What every call passes inside its method: errors and limits on the way in and out.

The layers wrap a method's handler once, when it is registered, instead of being asked anew for every call as
`grpc.aio.ServerInterceptor`s are: a call pays for nothing but the layers' own work. Around them stand telemetry, which
is a real gRPC interceptor (`telemetry.py`), and the door, where calls are let in or turned away (`door.py`).
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from penstock.status import STATUS_DETAILS_KEY
from penstock_server import errors
from penstock_server.errors import Defect, Failure, InvalidRequest, MessageTooLarge, RunCanceled, TooManyRuns
from penstock_server.ids import new_id

logger = logging.getLogger("penstock.server")

STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}

Context = Any  # grpc.aio.ServicerContext, or the in-process one: the same interface, without a common base
Handler = Any  # grpc.RpcMethodHandler: a unary or streaming behaviour with its serializer


Place = AbstractContextManager[None]

RETRY_AFTER_S = 1.0
"""When a caller who finds no place is told to come again."""


class Places:
    """The places of calls that are open, as a context that a call takes part in.

    Args:
        places: how many there are.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._taken = 0

    def __enter__(self) -> None:
        if self._taken >= self._places:
            text = f"as many calls are open as the service allows: {self._places} (calls_max)"
            raise TooManyRuns(text, retry_after_s=RETRY_AFTER_S)
        self._taken += 1

    def __exit__(self, *_: object) -> None:
        self._taken -= 1


@dataclass(frozen=True, slots=True)
class Refused:
    """Stands for a request that was refused before it reached its method; the method answers with the failure."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large messages may be, in bytes."""

    message_bytes_max: int
    answer_bytes_max: int
    calls_max: int
    """How many calls may be open at once, not counting probes."""


class Guard:
    """Wraps the handlers of services: reads requests within the limits, and turns failures into statuses.

    Args:
        probes: the methods that have a place in any case.
    """

    def __init__(self, limits: Limits, *, probes: frozenset[str]) -> None:
        self._limits = limits
        self._probes = probes
        self._places = Places(limits.calls_max)

    def handler(self, method: str, handler: Handler) -> Handler:
        """The handler of `method`, guarded. It takes bytes, as a socket brings them, or a message of this process."""
        read = self._reader(handler.request_deserializer)
        place = nullcontext() if method in self._probes else self._places
        if handler.request_streaming:
            stream = self._stream(method, handler.stream_stream, lambda requests: _read_all(requests, read), place)
            return grpc.stream_stream_rpc_method_handler(stream, None, handler.response_serializer)
        if handler.response_streaming:
            stream = self._stream(method, handler.unary_stream, read, place)
            return grpc.unary_stream_rpc_method_handler(stream, None, handler.response_serializer)
        unary = self._unary(method, handler.unary_unary, read, place)
        return grpc.unary_unary_rpc_method_handler(unary, None, handler.response_serializer)

    def _reader(self, deserialize: Callable[[bytes], Message]) -> Callable[[Any], Any]:
        # Not as gRPC's own deserializer, which would tell its exceptions to the caller.
        bytes_max = self._limits.message_bytes_max

        def read(request: Any) -> Any:
            if request.__class__ is not bytes:
                if request.__class__ is Refused:
                    raise request.failure
                return request
            if len(request) > bytes_max:
                raise too_large(len(request), bytes_max)
            try:
                return deserialize(request)
            except DecodeError:
                raise InvalidRequest("the request is not a valid protobuf message of this method") from None

        return read

    def _sendable(self, response: Message) -> Message:
        # A client would refuse it as well, but only after it was sent, and with words that name no limit of ours.
        size_bytes = response.ByteSize()
        if size_bytes > self._limits.answer_bytes_max:
            limit = self._limits.answer_bytes_max
            text = f"the answer has {size_bytes} bytes; at most {limit} are sent (answer_bytes_max)"
            raise MessageTooLarge(text)
        return response

    def _unary(
        self,
        method: str,
        behaviour: Callable[[Any, Context], Awaitable[Message]],
        read: Callable[[Any], Any],
        place: Place,
    ) -> Callable[..., Any]:
        async def unary(request: Any, context: Context) -> Message:
            try:
                with place:
                    return self._sendable(await behaviour(read(request), context))
            except BaseException as error:
                await answer(error, method, context)
                raise
            finally:
                del context  # see `answer`

        return unary

    def _stream(
        self, method: str, behaviour: Callable[[Any, Context], Any], read: Callable[[Any], Any], place: Place
    ) -> Callable[..., Any]:
        generates = inspect.isasyncgenfunction(behaviour)

        async def stream(request: Any, context: Context) -> AsyncIterator[Message]:
            try:
                with place:
                    if not generates:  # it writes to the context by itself, as the health service's Watch does
                        await behaviour(read(request), context)
                        return
                    async with aclosing(behaviour(read(request), context)) as responses:
                        async for response in responses:
                            yield self._sendable(response)
            except BaseException as error:
                await answer(error, method, context)
                raise
            finally:
                del context

        return stream


async def _read_all(requests: AsyncIterator[Any], read: Callable[[Any], Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield read(request)


async def answer(error: BaseException, method: str, context: Context) -> None:
    """Ends the call with the status that the error stands for; returns where the call is over already.

    A handler that let a CancelledError of its own escape would send no status at all and leave the client hanging. So
    it is told apart from the cancellation of the call, which asks for the handler's task to be cancelled.

    gRPC's context keeps the exception with which it aborts. Where a frame of its traceback, or of that of the failure
    behind it, keeps the context, the call is left to the garbage collector, and many at once to a long pause.
    """
    try:
        if isinstance(error, Failure):
            await abort(error.with_traceback(None), context)
        elif isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                await abort(RunCanceled("the work behind this call was cancelled"), context)
        elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            incident = new_id()
            logger.error("incident %s in %s", incident, method, exc_info=error)
            await abort(Defect(errors.DEFECT_MESSAGE, metadata={"incident": incident}), context)
    finally:
        del context


async def abort(failure: Failure, context: Context) -> None:
    """Ends the call with the failure's status, message and details."""
    status = errors.to_status(failure)
    trailing = ((STATUS_DETAILS_KEY, status.SerializeToString()), *(context.trailing_metadata() or ()))
    try:
        await context.abort(STATUS_CODES[status.code], status.message, trailing)
    finally:
        del context


def too_large(size_bytes: int, size_bytes_max: int) -> MessageTooLarge:
    """The failure of a request over the limit."""
    text = f"the message has {size_bytes} bytes; at most {size_bytes_max} are taken (message_bytes_max)"
    return MessageTooLarge(text)
