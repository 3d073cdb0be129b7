"""The door: a call is let in, or turned away, when its headers arrive and before its request is read.

A stranger can so neither make the server parse anything nor hold a call open by never sending its request.
"""

from collections.abc import Mapping
from typing import Any

import grpc

from penstock_server.auth import Authenticator, current_principal
from penstock_server.errors import Draining, Failure
from penstock_server.interceptors import Context, Handler, abort
from penstock_server.metadata import AUTHORIZATION, by_name, current_metadata, single


class Door(grpc.GenericRpcHandler):
    """Finds the handler of a call, for callers that may have it.

    Args:
        handlers: the guarded handlers by method path.
        public: the methods that need no token.
        probes: the methods that answer a stopping server's callers, too.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        authenticator: Authenticator,
        *,
        public: frozenset[str],
        probes: frozenset[str],
    ) -> None:
        self._handlers = handlers
        self._authenticator = authenticator
        self._public = public
        self._probes = probes
        self.draining = False
        """Whether the server was asked to stop."""

    def service(self, handler_call_details: Any) -> Handler | None:
        """The handler for a call with these details; None for a method that is not served.

        It is asked in the call's own task, so what it learns about the caller is there for the method to read.
        """
        method = handler_call_details.method
        handler = self._handlers.get(method)
        if handler is not None:
            try:
                self._admit(method, handler_call_details.invocation_metadata or ())
            except Failure as failure:
                return _Refusal(failure)
        return handler

    def _admit(self, method: str, metadata: Any) -> None:
        """Authentication, then limits: a stranger learns nothing about how the server is doing."""
        sent = by_name(metadata)
        current_metadata.set(sent)
        if method not in self._public:
            current_principal.set(self._authenticator.authenticate(single(sent, AUTHORIZATION)))
        if self.draining and method not in self._probes:
            raise Draining.now()


class _Refusal:
    """A `grpc.RpcMethodHandler` that answers with a failure at once.

    To gRPC it is a stream of requests: for a single one it would wait.
    """

    request_streaming = True
    response_streaming = True
    request_deserializer = None
    response_serializer = None

    def __init__(self, failure: Failure) -> None:
        async def refuse(_: Any, context: Context) -> None:
            await abort(failure, context)

        self.unary_unary = self.unary_stream = self.stream_unary = self.stream_stream = refuse
