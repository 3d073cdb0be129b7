"""A client that calls flows over gRPC. The generated stubs in `penstock.v1` offer all the rest."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import grpc

from penstock.errors import PenstockError
from penstock.following import Call, Following
from penstock.v1 import flow_pb2, flow_pb2_grpc, run_pb2, run_pb2_grpc
from penstock.values import InvalidValue, to_struct

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""The largest answer that the client takes; gRPC's own default is a quarter of it."""

HEADER_FORM = re.compile(r"[\x20-\x7e]*")
"""What gRPC carries as the value of a header."""


class Client:
    """Calls the flows of one service.

    Args:
        target: the server's address: `HOST:PORT` or `unix:PATH`.
        token: the bearer token.
        session: the conversation that calls belong to; by default every call begins a new one.
        user: the session's owner.

    Raises:
        InvalidValue: the token, the session or the user is nothing that a header can carry; its path names which.
    """

    def __init__(self, target: str, *, token: str = "", session: str = "", user: str = "") -> None:
        for name, value in (("token", token), ("session", session), ("user", user)):
            if not HEADER_FORM.fullmatch(value):
                raise InvalidValue("holds something else than printable ASCII, which is all that can be sent", (name,))
        self._channel = grpc.insecure_channel(target, options=(("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),))
        self._flows = flow_pb2_grpc.FlowServiceStub(self._channel)
        self._runs = run_pb2_grpc.RunServiceStub(self._channel)
        sent = (
            ("authorization", f"Bearer {token}" if token else ""),
            ("chat-session-id", session),
            ("chat-user-id", user),
        )
        self._metadata = tuple((key, value) for key, value in sent if value)

    def invoke(self, inputs: Mapping[str, Any], *, flow: str = "", timeout_s: float | None = None) -> run_pb2.Run:
        """Executes a flow and returns the run when it has ended; `values.from_struct(run.outputs)` reads the outputs.

        Args:
            inputs: the flow's inputs: JSON values by name.
            flow: the flow's id; the service's default flow where it is empty.

        Raises:
            PenstockError: the call did not succeed.
            InvalidValue: an input is no JSON value, or the flow's id no text.
        """
        try:
            return self._flows.Invoke(_request(inputs, flow), timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise PenstockError.of_rpc(error) from None

    def stream(
        self, inputs: Mapping[str, Any], *, flow: str = "", timeout_s: float | None = None
    ) -> Iterator[run_pb2.RunEvent]:
        """Executes a flow and yields the run's events while it goes on. Takes and raises what `invoke` does.

        Where the connection is cut, it is made again, and the run goes on with the event that follows. Leaving the
        iteration early is leaving the run: the service cancels it when nobody has come back for `disconnect_grace_s`.
        """
        resume = self._resume(timeout_s)
        call = self._flows.InvokeStream(_request(inputs, flow), timeout=timeout_s, metadata=self._metadata)
        yield from Following(call, resume).events()

    def watch(self, run: str, *, after: int = 0, timeout_s: float | None = None) -> Iterator[run_pb2.RunEvent]:
        """Yields a run's events to its end, from behind the event of this number; across cuts, as `stream` does.

        Raises:
            PenstockError: the run did not succeed, or cannot be followed.
        """
        resume = self._resume(timeout_s)
        yield from Following(resume(run, after), resume, run=run, after=after).events()

    def cancel(self, run: str, *, timeout_s: float | None = None) -> run_pb2.Run:
        """Cancels a run, and returns it when its work has stopped; one that has ended stays as it is.

        Raises:
            PenstockError: there is no such run, or it cannot be reached.
        """
        try:
            return self._runs.CancelRun(run_pb2.CancelRunRequest(run=run), timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise PenstockError.of_rpc(error) from None

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _resume(self, timeout_s: float | None) -> Callable[[str, int], Call]:
        """Begins streams of runs, for so many seconds from now."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s

        def resume(run: str, after: int) -> Call:
            request = run_pb2.WatchRunRequest(run=run, after_sequence=after)
            left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
            return self._runs.WatchRun(request, timeout=left_s, metadata=self._metadata)

        return resume

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _request(inputs: Mapping[str, Any], flow: str) -> flow_pb2.InvokeRequest:
    try:
        request = flow_pb2.InvokeRequest(flow=flow)
    except UnicodeEncodeError:
        raise InvalidValue("holds a lone surrogate, which is not valid UTF-8", ("flow",)) from None
    request.inputs.SetInParent()
    to_struct(inputs, request.inputs)
    return request
