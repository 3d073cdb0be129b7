"""The OpenTelemetry hook: spans of calls, made by the official gRPC instrumentation. Off by default."""

from __future__ import annotations

import grpc

INSTALL_HINT = "telemetry needs the OpenTelemetry packages: pip install 'penstock[telemetry]'"


def server_interceptors() -> list[grpc.aio.ServerInterceptor]:
    """The interceptors that make a span of each call of our own services.

    Health and reflection are left out: probes would drown the traces, and the instrumentation breaks `Health.Watch`.
    The tracer provider is the process's own (`OTEL_*` variables, or what an embedding program has set).

    Raises:
        ImportError: the packages are missing; the message says what to install.
    """
    try:
        from opentelemetry.instrumentation.grpc import aio_server_interceptor, filters
    except ImportError as error:
        raise ImportError(INSTALL_HINT) from error
    return [aio_server_interceptor(filter_=filters.service_prefix("penstock."))]  # type: ignore[no-untyped-call]
