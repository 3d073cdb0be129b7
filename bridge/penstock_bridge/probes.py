"""`/healthz`: the bridge is alive. `/readyz`: its server is ready, too."""

import grpc
from grpc_health.v1 import health_pb2

from penstock_bridge.calls import call
from penstock_bridge.errors import unreachable
from penstock_bridge.reply import Answer, Reply
from penstock_bridge.request import Request

ALIVE_PATH = "/healthz"
READY_PATH = "/readyz"

_CHECK = "/grpc.health.v1.Health/Check"


async def alive(request: Request, segments: list[str]) -> Answer:
    """The bridge answers, so it is alive."""
    return Reply(200, b'{"status":"ALIVE"}')


class Ready:
    """Asks the server whether it is ready (grpc.health.v1).

    Args:
        channel: where the server is.
        timeout_s: how long it may take to say so.
    """

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._check = channel.unary_unary(
            _CHECK,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        self._timeout_s = timeout_s

    async def __call__(self, request: Request, segments: list[str]) -> Answer:
        """Answers 200 while the server serves.

        Raises:
            Problem: it does not, or does not answer in time.
        """
        response, _ = await call(self._check, health_pb2.HealthCheckRequest(), (), self._timeout_s)
        if response.status != health_pb2.HealthCheckResponse.SERVING:
            raise unreachable()
        return Reply(200, b'{"status":"READY"}')
