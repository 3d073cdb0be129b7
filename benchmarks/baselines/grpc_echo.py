"""A bare grpc.aio server that answers FlowService with messages of Penstock's size, and nothing around it.

Run as `python -m benchmarks.baselines.grpc_echo READY_FILE`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import flows
from benchmarks.baselines.loop import serve
from penstock.v1.flow_pb2 import (
    Flow,
    GetFlowRequest,
    InvokeRequest,
    InvokeStreamResponse,
    ListFlowsRequest,
    ListFlowsResponse,
)
from penstock.v1.flow_pb2_grpc import FlowServiceServicer, add_FlowServiceServicer_to_server
from penstock.v1.run_pb2 import OutputDelta, Run, RunEvent, RunFinished, RunStarted

STREAMS: dict[str, Callable[[Struct], AsyncIterator[str]]] = {
    "tokens": lambda inputs: flows.tokens(),
    "paced": lambda inputs: flows.paced(int(inputs.fields["count"].number_value)),
    "stamped": lambda inputs: flows.stamped(inputs.fields["delay_s"].number_value),
}
NOW = Timestamp(seconds=1_790_000_000, nanos=123_456_000)
RUN_ID = "r" * 32
SESSION_ID = "s" * 36
SNAPSHOT = "0" * 16
_servers: list[grpc.aio.Server] = []


if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]


class EchoService(FlowServiceServicer):
    """Answers without looking at metadata, flows or options."""

    async def ListFlows(self, request: ListFlowsRequest, context: "Context") -> ListFlowsResponse:
        return ListFlowsResponse()

    async def GetFlow(self, request: GetFlowRequest, context: "Context") -> Flow:
        return Flow(flow=request.flow)

    async def Invoke(self, request: InvokeRequest, context: "Context") -> Run:
        run = Run(run=RUN_ID, flow="echo", session=SESSION_ID, status=Run.SUCCEEDED, snapshot=SNAPSHOT)
        run.inputs.CopyFrom(request.inputs)
        run.outputs.fields["output"].string_value = request.inputs.fields["text"].string_value
        for time in (run.create_time, run.start_time, run.end_time):
            time.CopyFrom(NOW)
        return run

    async def InvokeStream(self, request: InvokeRequest, context: "Context") -> AsyncIterator[InvokeStreamResponse]:
        yield _one(RunEvent(sequence=1, run_started=RunStarted(run=RUN_ID, flow="tokens", session=SESSION_ID)))
        sequence = 1
        async for token in STREAMS[request.flow](request.inputs):
            sequence += 1
            delta = OutputDelta()
            delta.outputs.fields["output"].string_value = token
            yield _one(RunEvent(sequence=sequence, output_delta=delta))
        finished = RunFinished(run=RUN_ID, status=Run.SUCCEEDED, end_time=NOW)
        yield _one(RunEvent(sequence=sequence + 1, run_finished=finished))


def _one(event: RunEvent) -> InvokeStreamResponse:
    return InvokeStreamResponse(events=[event])


async def start() -> dict[str, str]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    _servers.append(server)  # The loop holds no reference, and a collected server stops.
    add_FlowServiceServicer_to_server(EchoService(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await asyncio.sleep(0)
    return {"grpc": f"127.0.0.1:{port}"}


if __name__ == "__main__":
    serve(start, Path(sys.argv[1]))
