"""`penstock.v1.RunService`: the wire's messages to the domain and back."""

from collections.abc import AsyncIterator
from typing import Any

from penstock.v1 import run_pb2, run_pb2_grpc
from penstock_server.errors import InvalidRequest
from penstock_server.runs.runs import Runs
from penstock_server.services.acceptance import acknowledge_stream
from penstock_server.services.messages import run_head, run_message, write_events
from penstock_server.services.pages import page_size, page_token, position
from penstock_server.services.requests import required, scope, status
from penstock_server.services.times import time_range
from penstock_server.services.told import Told
from penstock_server.store.records import RunFilter

Context = Any  # grpc.aio.ServicerContext, or the in-process one


class RunService(run_pb2_grpc.RunServiceServicer):
    """Finds, follows and cancels runs.

    Args:
        write_timeout_s: how long a reader of a stream may take nothing.
    """

    def __init__(self, runs: Runs, write_timeout_s: float) -> None:
        self._runs = runs
        self._write_timeout_s = write_timeout_s

    async def GetRun(self, request: run_pb2.GetRunRequest, context: Context) -> run_pb2.Run:
        """One run (AIP-131)."""
        return run_message(await self._runs.get(required(request.run, "run"), scope()))

    async def ListRuns(self, request: run_pb2.ListRunsRequest, context: Context) -> run_pb2.ListRunsResponse:
        """Pages through runs (AIP-132, AIP-158)."""
        wanted = RunFilter(
            scope=scope(request.user),
            session=request.session,
            flow=request.flow,
            status=status(request.status),
            accepted=time_range(request),
        )
        page = await self._runs.page(wanted, position(wanted, request.page_token), page_size(request.page_size))
        return run_pb2.ListRunsResponse(runs=map(run_head, page.items), next_page_token=page_token(wanted, page.next))

    async def CancelRun(self, request: run_pb2.CancelRunRequest, context: Context) -> run_pb2.Run:
        """Cancels a run (AIP-136)."""
        return run_message(await self._runs.cancel(required(request.run, "run"), scope()))

    async def WatchRun(
        self, request: run_pb2.WatchRunRequest, context: Context
    ) -> AsyncIterator[run_pb2.WatchRunResponse]:
        """Tells a run's log, from behind an event on."""
        run = required(request.run, "run")
        if request.after_sequence < 0:
            raise InvalidRequest.of([("afterSequence", "must not be negative")])
        watch = await self._runs.watch(
            run, scope(), after=request.after_sequence, simple=request.view == run_pb2.SIMPLE
        )
        told = Told(self._write_timeout_s, watch.log, lambda _: None)
        try:
            await acknowledge_stream(context, run=run)
            async for events in told.batches():
                yield write_events(events, run_pb2.WatchRunResponse())
        finally:
            watch.close()
        told.raise_if_stalled(run)
        if told.end is None:
            await watch.end()  # it says why the run's end cannot be told
