"""What every call passes on its way to a method: errors → authentication → limits.

The layers wrap a method's handler once, when it is registered, instead of being asked anew for every call as
`grpc.aio.ServerInterceptor`s are: the order is the same and a call pays for nothing but the layers' own work. Telemetry
is a real gRPC interceptor, outside all of them (`telemetry.py`).
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from penstock.status import STATUS_DETAILS_KEY
from penstock_server import errors
from penstock_server.auth import Authenticator, current_principal
from penstock_server.errors import Defect, Draining, Failure, InvalidRequest, MessageTooLarge, RunCanceled
from penstock_server.ids import new_id
from penstock_server.metadata import AUTHORIZATION, current_metadata, first

logger = logging.getLogger("penstock.server")

RETRY_AFTER_DRAIN_S = 5.0
"""When a caller that met a stopping server should come back: another instance may have taken its place by then."""

STATUS_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

Context = Any  # grpc.aio.ServicerContext, or the in-process one: the same interface, without a common base
Handler = Any  # grpc.RpcMethodHandler: a unary or streaming behaviour with its (de)serializers


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a request that could not be read, until it reaches the layer that can answer."""

    failure: Failure


class Gate:
    """The state that decides whether calls are let in, shared by all methods."""

    def __init__(self) -> None:
        self.draining = False

    def check(self) -> None:
        """Raises Draining once the server was asked to stop."""
        if self.draining:
            raise Draining("the server is stopping; try again", retry_after_s=RETRY_AFTER_DRAIN_S)


class Guard:
    """Wraps the handlers of services with all layers.

    Args:
        public: the methods, as `/package.Service/Method`, that need no token.
        message_bytes_max: the largest request that is read.
        answer_bytes_max: the largest message that is sent.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        gate: Gate,
        public: Iterable[str],
        *,
        message_bytes_max: int,
        answer_bytes_max: int,
    ) -> None:
        self._authenticator = authenticator
        self._gate = gate
        self._public = frozenset(public)
        self._message_bytes_max = message_bytes_max
        self._answer_bytes_max = answer_bytes_max

    def handler(self, method: str, handler: Handler) -> Handler:
        """The handler of `method`, guarded."""
        read = self._reader(handler.request_deserializer)
        if not handler.request_streaming and not handler.response_streaming:
            unary = self._unary(method, handler.unary_unary)
            return grpc.unary_unary_rpc_method_handler(unary, read, handler.response_serializer)
        if not handler.request_streaming:
            stream = self._stream(method, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(stream, read, handler.response_serializer)
        stream = self._stream(method, handler.stream_stream)
        return grpc.stream_stream_rpc_method_handler(stream, handler.request_deserializer, handler.response_serializer)

    def _reader(self, deserialize: Callable[[bytes], Message]) -> Callable[[bytes], Message | Unreadable]:
        # An exception here would reach the caller as UNKNOWN with our internals, so it is carried to the error layer.
        def read(data: bytes) -> Message | Unreadable:
            if len(data) > self._message_bytes_max:
                return Unreadable(too_large(len(data), self._message_bytes_max))
            try:
                return deserialize(data)
            except DecodeError:
                return Unreadable(InvalidRequest("the request is not a valid protobuf message of this method"))

        return read

    def _admit(self, method: str, request: object, context: Context) -> None:
        """Authentication, then limits: a stranger learns nothing about how the server is doing."""
        if method not in self._public:
            sent = context.invocation_metadata()
            current_principal.set(self._authenticator.authenticate(first(sent, AUTHORIZATION)))
            current_metadata.set(sent)
        self._gate.check()
        if request.__class__ is Unreadable:
            raise request.failure

    def _sendable(self, response: Message) -> Message:
        # A client would refuse it as well, but only after it was sent, and with words that name no limit of ours.
        size_bytes = response.ByteSize()
        if size_bytes > self._answer_bytes_max:
            text = f"the answer has {size_bytes} bytes; at most {self._answer_bytes_max} are sent (answer_bytes_max)"
            raise MessageTooLarge(text)
        return response

    def _unary(self, method: str, behaviour: Callable[[Any, Context], Awaitable[Message]]) -> Callable[..., Any]:
        async def unary(request: Any, context: Context) -> Message:
            try:
                self._admit(method, request, context)
                return self._sendable(await behaviour(request, context))
            except BaseException as error:
                await answer(error, method, context)
                raise

        return unary

    def _stream(self, method: str, behaviour: Callable[[Any, Context], Any]) -> Callable[..., Any]:
        generates = inspect.isasyncgenfunction(behaviour)

        async def stream(request: Any, context: Context) -> AsyncIterator[Message]:
            try:
                self._admit(method, request, context)
                if not generates:  # it writes to the context by itself, as the health service's Watch does
                    await behaviour(request, context)
                    return
                responses = behaviour(request, context)
                try:
                    async for response in responses:
                        yield self._sendable(response)
                finally:
                    await responses.aclose()
            except BaseException as error:
                await answer(error, method, context)
                raise

        return stream


async def answer(error: BaseException, method: str, context: Context) -> None:
    """Ends the call with the status that the error stands for; returns where the call is over already.

    A handler that let a CancelledError of its own escape would send no status at all and leave the client hanging. So
    it is told apart from the cancellation of the call, which asks for the handler's task to be cancelled.
    """
    if isinstance(error, Failure):
        await abort(error, context)
    elif isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            await abort(RunCanceled("the work behind this call was cancelled"), context)
    elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
        incident = new_id()
        logger.error("incident %s in %s", incident, method, exc_info=error)
        await abort(Defect(errors.DEFECT_MESSAGE, metadata={"incident": incident}), context)


async def abort(failure: Failure, context: Context) -> None:
    """Ends the call with the failure's status, message and details."""
    status = errors.to_status(failure)
    await context.abort(
        STATUS_CODES[status.code],
        status.message,
        ((STATUS_DETAILS_KEY, status.SerializeToString()), *(context.trailing_metadata() or ())),
    )


def too_large(size_bytes: int, size_bytes_max: int) -> MessageTooLarge:
    """The failure of a request over the limit."""
    return MessageTooLarge(
        f"the message has {size_bytes} bytes; at most {size_bytes_max} are taken (message_bytes_max)"
    )
