"""`penstock.v1.FlowService`: the wire's messages to the domain and back."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

from penstock.v1 import flow_pb2, flow_pb2_grpc, run_pb2
from penstock.values import InvalidValue, from_struct
from penstock_server import metadata
from penstock_server.auth import current_principal
from penstock_server.errors import Failure, InvalidRequest, ReaderStalled
from penstock_server.flows.flow import Flow
from penstock_server.ids import new_id
from penstock_server.runs.log import Reader
from penstock_server.runs.run import InvokeCommand, Run
from penstock_server.runs.runs import Runs
from penstock_server.services.messages import flow_message, run_message, stream_message
from penstock_server.services.pages import page_size, page_token, position
from penstock_server.services.stall import StallWatch
from penstock_server.store.records import Idempotency

Context = Any  # grpc.aio.ServicerContext, or the in-process one

_LIST_FLOWS = "ListFlows"


class FlowService(flow_pb2_grpc.FlowServiceServicer):
    """Describes and executes the flows of a service.

    Args:
        flows: the served flows, the default flow first.
        write_timeout_s: how long a reader of a stream may take nothing.
    """

    def __init__(self, flows: list[Flow], runs: Runs, write_timeout_s: float) -> None:
        self._flows = [flow_message(flow.spec) for flow in flows]
        self._runs = runs
        self._write_timeout_s = write_timeout_s

    async def ListFlows(self, request: flow_pb2.ListFlowsRequest, context: Context) -> flow_pb2.ListFlowsResponse:
        """Pages through the flows in the order in which they are served (AIP-158)."""
        (start,) = position(_LIST_FLOWS, request.page_token) or (0,)
        end = start + page_size(request.page_size)
        token = page_token(_LIST_FLOWS, (end,) if end < len(self._flows) else None)
        return flow_pb2.ListFlowsResponse(flows=self._flows[start:end], next_page_token=token)

    async def GetFlow(self, request: flow_pb2.GetFlowRequest, context: Context) -> flow_pb2.Flow:
        """One flow (AIP-131)."""
        if not request.flow:
            raise InvalidRequest.of([("flow", "is required")])
        name = self._runs.flow(request.flow).spec.flow
        return next(message for message in self._flows if message.flow == name)

    async def Invoke(self, request: flow_pb2.InvokeRequest, context: Context) -> run_pb2.Run:
        """Executes a flow and answers when it ends."""
        run = await self._accept(request, context)
        try:
            await _acknowledge(run, context)
            await run.ended()
        finally:
            self._runs.leave(run)
        if run.error is not None:
            raise run.error
        return run_message(run, request.inputs)

    async def InvokeStream(
        self, request: flow_pb2.InvokeRequest, context: Context
    ) -> AsyncIterator[flow_pb2.InvokeStreamResponse]:
        """Executes a flow and tells the run's log while it grows."""
        run = await self._accept(request, context)
        reader = run.log.subscribe(simple=request.view == run_pb2.SIMPLE)
        try:
            await _acknowledge(run, context)
            with StallWatch(self._write_timeout_s, lambda: self._give_up(run, reader)) as stall:
                while (events := await reader.take()) is not None:
                    response = stream_message(events)
                    stall.writing()
                    yield response
                    stall.written()
        finally:
            reader.close()
            self._runs.leave(run)
        if stall.stalled:
            raise self._stalled(run)
        if run.error is not None:
            raise run.error

    async def _accept(self, request: flow_pb2.InvokeRequest, context: Context) -> Run:
        sent = metadata.current_metadata.get()
        named = metadata.session_id(sent)
        session = named or new_id()
        try:
            options = request.options
            idempotency = _idempotency(request, sent)
            command = InvokeCommand(
                flow=request.flow,
                inputs=_inputs(request),
                session=session,
                session_is_new=named is None,
                user=metadata.user_id(sent),
                continue_on_disconnect=_continues(options.on_disconnect, idempotency),
                stored=options.store if options.HasField("store") else True,
                idempotency=idempotency,
            )
            return await self._runs.accept(command)
        except Failure:
            context.set_trailing_metadata(((metadata.SESSION_ID, session),))
            raise

    def _give_up(self, run: Run, reader: Reader) -> None:
        """The reader takes nothing: it is left behind, with all that it has not taken.

        The call itself cannot be ended from here: gRPC sends a status only behind what it has been given to send.
        """
        reader.close()
        if not run.command.continue_on_disconnect:
            self._runs.cancel(run, self._stalled(run))

    def _stalled(self, run: Run) -> ReaderStalled:
        text = f"the reader took nothing for {self._write_timeout_s:g} s"
        return ReaderStalled(text, metadata={"run": run.run})


def _inputs(request: flow_pb2.InvokeRequest) -> dict[str, object]:
    try:
        return from_struct(request.inputs, exact=True)
    except InvalidValue as error:
        raise InvalidRequest.of([(error.field("inputs"), error.description)]) from None


def _idempotency(request: flow_pb2.InvokeRequest, sent: metadata.Metadata) -> Idempotency | None:
    key = metadata.idempotency_key(sent)
    if not key:
        return None
    # The view changes what is told of a run, not the run.
    same = flow_pb2.InvokeRequest()
    same.CopyFrom(request)
    same.ClearField("view")
    digest = sha256(same.SerializeToString(deterministic=True)).digest()
    return Idempotency(key=key, principal=current_principal.get().name, request_digest=digest)


def _continues(asked: "flow_pb2.InvokeOptions.OnDisconnect.ValueType", idempotency: Idempotency | None) -> bool:
    """Whether the run goes on when its caller leaves. Who sends a key means to come back for the answer."""
    if asked == flow_pb2.InvokeOptions.ON_DISCONNECT_UNSPECIFIED:
        return idempotency is not None
    return asked == flow_pb2.InvokeOptions.CONTINUE


async def _acknowledge(run: Run, context: Context) -> None:
    await context.send_initial_metadata(((metadata.SESSION_ID, run.command.session), (metadata.RUN_ID, run.run)))
