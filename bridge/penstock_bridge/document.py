"""`/openapi.json`: the document, with the flows that the caller may see."""

import grpc

from penstock.v1 import flow_pb2
from penstock_bridge import metadata
from penstock_bridge.calls import call
from penstock_bridge.config import BridgeConfig
from penstock_bridge.guard import Guard
from penstock_bridge.openapi import OpenApi
from penstock_bridge.reply import JSON_TYPE, Answer, Reply
from penstock_bridge.request import Request

_LIST_FLOWS = "/penstock.v1.FlowService/ListFlows"
_FLOWS_MAX = 1000


class Document:
    """Answers with the OpenAPI document of the service as this caller sees it.

    Args:
        channel: where the flows are listed, with the caller's own credential.
        openapi: what writes the document.
    """

    def __init__(self, channel: grpc.aio.Channel, openapi: OpenApi, config: BridgeConfig) -> None:
        self._list = channel.unary_unary(
            _LIST_FLOWS,
            request_serializer=flow_pb2.ListFlowsRequest.SerializeToString,
            response_deserializer=flow_pb2.ListFlowsResponse.FromString,
        )
        self._openapi = openapi
        self._config = config
        self._guard = Guard(config)
        self._known: tuple[bytes, bytes] = (b"", b"")

    async def __call__(self, request: Request, segments: list[str]) -> Answer:
        """Answers with the document.

        Raises:
            Problem: the server does not list its flows for this caller.
        """
        self._guard.check(request, public=True)
        passed = metadata.request_metadata(request.headers, self._config.metadata_bytes_max)
        asked = flow_pb2.ListFlowsRequest(page_size=_FLOWS_MAX)
        response, _ = await call(self._list, asked, passed, self._config.ready_timeout_s)
        return Reply(200, self._written(response), [JSON_TYPE])

    def _written(self, response: flow_pb2.ListFlowsResponse) -> bytes:
        """Flows change seldom, and writing the document takes milliseconds."""
        key = response.SerializeToString(deterministic=True)
        if self._known[0] != key or not self._known[1]:
            self._known = (key, self._openapi.document(response.flows))
        return self._known[1]
