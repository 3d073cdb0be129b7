"""The channel to a server in another process."""

import grpc

from penstock_bridge.config import KIB, BridgeConfig

LOOKAHEAD_BYTES = 0
"""How far a server may run ahead of a reader that has stalled, a stream (HTTP/2's flow control window)."""

RECONNECT_BACKOFF_MS_MIN = 100

ANSWER_METADATA_BYTES_MAX = 32 * KIB
"""The most metadata of an answer; the details of an error travel in it."""

_HARD_LIMIT_RATIO = 2
"""gRPC refuses metadata at random between its soft and its hard limit; only above the soft one may that happen."""


def connect(target: str, config: BridgeConfig) -> grpc.aio.Channel:
    """Opens a channel to `host:port`, `unix:PATH` or any other gRPC target. It connects with the first call."""
    return grpc.aio.insecure_channel(target, options=_options(config))


def _options(config: BridgeConfig) -> list[tuple[str, int]]:
    return [
        # Without these two a stalled reader makes the server buffer megabytes.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
        # Two bridges in one process would otherwise share a connection and its fate.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", config.answer_bytes_max),
        # The server judges what it takes, and says so in words; a second judge would only disagree.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", ANSWER_METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", ANSWER_METADATA_BYTES_MAX * _HARD_LIMIT_RATIO),
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_BACKOFF_MS_MIN),
        ("grpc.min_reconnect_backoff_ms", RECONNECT_BACKOFF_MS_MIN),
        ("grpc.max_reconnect_backoff_ms", int(config.reconnect_backoff_s_max * 1000)),
        # Retrying is the caller's choice; ours would execute a flow twice. The server is no service mesh either.
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.enable_http_proxy", 0),
    ]
