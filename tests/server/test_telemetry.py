"""With telemetry, every call of ours is a span, whichever way it came."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.server.conftest import METADATA, request, until

from penstock_server.config import ServerConfig

TRACE = "0af7651916cd43dd8448eb211c80319c"
EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    """The process's tracer provider, which can be set only once."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(made)


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Where finished spans are found."""
    EXPORTER.clear()
    yield EXPORTER
    EXPORTER.clear()


@pytest.fixture
def config() -> ServerConfig:
    """The server's settings, with telemetry."""
    return ServerConfig(grpc="127.0.0.1:0", telemetry=True, drain_s=0.2)


async def finished(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, ...]:
    """The spans, once there are any: a span ends when its call has ended at the server, its caller may know before."""
    await until(exporter.get_finished_spans)
    return exporter.get_finished_spans()


async def test_a_call_makes_a_span_of_its_caller_s_trace(stub: Any, exporter: InMemorySpanExporter) -> None:
    await stub.Invoke(
        request("echo", text="hi"), metadata=(*METADATA, ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"))
    )
    [span] = await finished(exporter)
    assert span.name == "/penstock.v1.FlowService/Invoke"
    assert format(span.context.trace_id, "032x") == TRACE
    assert span.attributes["rpc.grpc.status_code"] == 0


async def test_a_stream_makes_a_span(stub: Any, exporter: InMemorySpanExporter) -> None:
    call = stub.InvokeStream(request("tokens", n=3), metadata=METADATA)
    assert len([event async for response in call for event in response.events]) == 5
    [span] = await finished(exporter)
    assert span.name == "/penstock.v1.FlowService/InvokeStream"


async def test_a_failed_call_s_span_has_its_status(stub: Any, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Invoke(request("nope"), metadata=METADATA)
    [span] = await finished(exporter)
    assert span.attributes["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
