"""`penstock.v1.FlowService`: the wire's messages to the domain and back."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

from penstock.v1 import flow_pb2, flow_pb2_grpc, run_pb2
from penstock.values import InvalidValue, from_struct
from penstock_server import metadata
from penstock_server.errors import Failure, InvalidRequest, ReaderStalled
from penstock_server.flows.flow import Flow
from penstock_server.runs.log import Reader
from penstock_server.runs.run import InvokeCommand, Run
from penstock_server.runs.runs import Runs
from penstock_server.services.messages import flow_message, run_message, stream_message
from penstock_server.services.stall import StallWatch

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1000

Context = Any  # grpc.aio.ServicerContext, or the in-process one


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
        start = _page_start(request.page_token)
        end = start + _page_size(request.page_size)
        token = _page_token(end) if end < len(self._flows) else ""
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
            self._leave(run)
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
            self._leave(run)
        if stall.stalled:
            raise self._stalled(run)
        if run.error is not None:
            raise run.error

    async def _accept(self, request: flow_pb2.InvokeRequest, context: Context) -> Run:
        sent = metadata.current_metadata.get()
        session = metadata.session_id(sent)
        try:
            command = InvokeCommand(
                flow=request.flow,
                inputs=_inputs(request),
                session=session,
                user=metadata.user_id(sent),
                continue_on_disconnect=request.options.on_disconnect == flow_pb2.InvokeOptions.CONTINUE,
            )
            return await self._runs.accept(command)
        except Failure:
            context.set_trailing_metadata(((metadata.SESSION_ID, session),))
            raise

    def _leave(self, run: Run) -> None:
        """The caller is gone, or has its answer."""
        if not run.command.continue_on_disconnect:
            self._runs.cancel(run)

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


async def _acknowledge(run: Run, context: Context) -> None:
    await context.send_initial_metadata(((metadata.SESSION_ID, run.command.session), (metadata.RUN_ID, run.run)))


def _page_size(asked: int) -> int:
    if asked < 0:
        raise InvalidRequest.of([("pageSize", "must not be negative")])
    return min(asked or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def _page_token(start: int) -> str:
    return urlsafe_b64encode(f"flows:{start}".encode()).decode()


def _page_start(token: str) -> int:
    if not token:
        return 0
    try:
        kind, _, start = urlsafe_b64decode(token.encode()).decode().partition(":")
        if kind == "flows" and start.isdecimal():
            return int(start)
    except ValueError:
        pass
    raise InvalidRequest.of([("pageToken", "is not one that this method gave")])
