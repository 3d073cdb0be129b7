"""`penstock.v1.FlowService`: the wire's messages to the domain and back."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

from penstock.v1 import flow_pb2, flow_pb2_grpc, run_pb2
from penstock.values import InvalidValue, from_struct
from penstock_server import metadata
from penstock_server.auth import current_principal
from penstock_server.errors import Failure, InvalidRequest
from penstock_server.flows.flow import Flow
from penstock_server.ids import new_id
from penstock_server.runs.events import OnBusy, OnDisconnect
from penstock_server.runs.following import Following
from penstock_server.runs.run import InvokeCommand
from penstock_server.runs.runs import Runs
from penstock_server.services.acceptance import acknowledge, acknowledge_stream
from penstock_server.services.messages import flow_message, run_message, write_events
from penstock_server.services.pages import page_size, page_token, position
from penstock_server.services.told import Told
from penstock_server.store.records import Idempotency

Context = Any  # grpc.aio.ServicerContext, or the in-process one

_LIST_FLOWS = "ListFlows"
_ON_BUSY = {flow_pb2.InvokeOptions.ON_BUSY_UNSPECIFIED: OnBusy.QUEUE, **{each.value: each for each in OnBusy}}


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
        answer = flow_pb2.Flow()
        answer.CopyFrom(next(message for message in self._flows if message.flow == name))
        return answer

    async def Invoke(self, request: flow_pb2.InvokeRequest, context: Context) -> run_pb2.Run:
        """Executes a flow and answers when it ends, or at once."""
        following = await self._accept(request, context, streams=False)
        try:
            await acknowledge(context, session=following.session, run=following.run)
            run = following.seen() if request.options.background else await following.end()
        finally:
            following.close()
        if run.error is not None and not request.options.background:
            raise run.error
        return run_message(run, request.inputs)

    async def InvokeStream(
        self, request: flow_pb2.InvokeRequest, context: Context
    ) -> AsyncIterator[flow_pb2.InvokeStreamResponse]:
        """Executes a flow and tells the run's log while it grows."""
        if request.options.background:
            text = "a stream waits for the run; call Invoke, and follow the run with WatchRun"
            raise InvalidRequest.of([("options.background", text)])
        following = await self._accept(request, context, streams=True)
        log = following.log(simple=request.view == run_pb2.SIMPLE)
        told = Told(self._write_timeout_s, log, lambda failure: self._runs.give_up(following, failure))
        try:
            await acknowledge_stream(context, session=following.session, run=following.run)
            async for events in told.batches():
                yield write_events(events, flow_pb2.InvokeStreamResponse())
        finally:
            log.close()
            following.close()
        told.raise_if_stalled(following.run)
        if told.end is None:
            await following.end()  # it says why the run's end cannot be told
        elif told.end.error is not None:
            raise told.end.error

    async def _accept(self, request: flow_pb2.InvokeRequest, context: Context, *, streams: bool) -> Following:
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
                on_busy=_on_busy(options.on_busy),
                on_disconnect=_on_disconnect(options, may_resume=streams or idempotency is not None),
                background=options.background,
                stored=options.store if options.HasField("store") else True,
                idempotency=idempotency,
            )
            return await self._runs.invoke(command)
        except Failure:
            context.set_trailing_metadata(((metadata.SESSION_ID, session),))
            raise


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


def _on_busy(asked: int) -> OnBusy:
    policy = _ON_BUSY.get(asked)
    if policy is None:
        raise InvalidRequest.of([("options.onBusy", "is none of QUEUE, REJECT and INTERRUPT")])
    return policy


def _on_disconnect(options: flow_pb2.InvokeOptions, *, may_resume: bool) -> OnDisconnect:
    """What becomes of the run when its caller leaves. Who streams, or sends a key, may mean to come back."""
    if options.background:
        return OnDisconnect.CONTINUE
    if options.on_disconnect == flow_pb2.InvokeOptions.ON_DISCONNECT_UNSPECIFIED:
        return OnDisconnect.LINGER if may_resume else OnDisconnect.CANCEL
    try:
        return OnDisconnect(options.on_disconnect)
    except ValueError:
        raise InvalidRequest.of([("options.onDisconnect", "is neither CANCEL nor CONTINUE")]) from None
