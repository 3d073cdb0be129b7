"""Every setting of the bridge, with its unit and a default that is safe."""

import re

from pydantic import BaseModel, Field, field_validator

from penstock import address

KIB = 1024
MIB = 1024 * KIB

TARGET_FORM = re.compile(r"(?:dns|ipv4|ipv6|unix-abstract):\S+")
"""A gRPC target that names how it is resolved (gRPC Name Resolution). gRPC would look anything else up as a host."""


class BridgeConfig(BaseModel, frozen=True, extra="forbid"):
    """How the bridge listens, what it lets in, and how long it waits."""

    http: str = Field("127.0.0.1:8080", description="Where the bridge listens: `host:port`; port 0 picks a free one.")
    upstream: str = Field(
        "127.0.0.1:50051",
        description="The gRPC server: `host:port`, `unix:PATH`, or another gRPC target such as `dns:///host:port`.",
    )
    base_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*/?$",
        description="A path that every route lies under, such as `/api/predict/my_flow`.",
    )
    auth: bool = Field(
        True,
        description="Whether to refuse a call without a bearer token before its body is read. The bridge passes any "
        "bearer token on and the server decides: a bridge before a server without auth must itself listen on loopback. "
        "Without it the bridge listens on loopback only.",
    )
    hosts: tuple[str, ...] = Field(
        (),
        description="Names that `Host` may carry in calls without a token, beside IP addresses and `localhost`. "
        "It keeps web pages from reaching an open service by a name of theirs (DNS rebinding).",
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Origins whose web pages may call, such as `https://app.example`; `*` for all. None by default."
    )

    body_bytes_max: int = Field(
        4 * MIB, ge=1, description="The largest request body; the server's `message_bytes_max` should be as large."
    )
    answer_bytes_max: int = Field(16 * MIB, ge=1, description="The largest message that the server may answer with.")
    header_bytes_max: int = Field(
        8 * KIB, ge=KIB, le=64 * KIB, description="The longest request line, and the longest single header."
    )
    metadata_bytes_max: int = Field(
        8 * KIB,
        ge=2 * KIB,
        le=16 * KIB,
        description="The most metadata of a call, in bytes: the headers that are passed on, and what gRPC adds.",
    )
    headers_max: int = Field(100, ge=8, description="How many headers a request may have.")

    body_timeout_s: float = Field(30, gt=0, description="How long a request body may take to arrive, in seconds.")
    write_timeout_s: float = Field(
        30, gt=0, description="How long a client may take nothing of its answer before it is dropped, in seconds."
    )
    keepalive_timeout_s: float = Field(
        75, gt=0, description="How long an idle connection is kept, and how long request headers may take, in seconds."
    )
    ping_interval_s: float = Field(
        15, gt=0, description="After how much silence an event stream gets a `: ping` comment, in seconds."
    )
    ready_timeout_s: float = Field(
        2, gt=0, description="How long `/readyz` and `/openapi.json` wait for the server, in seconds."
    )
    linger_s: float = Field(
        2, ge=0, description="How long the rest of a refused body is read and dropped, so that the refusal arrives."
    )
    reconnect_backoff_s_max: float = Field(
        2, gt=0, description="The longest pause between two attempts to reach a server that is out, in seconds."
    )

    send_buffer_bytes: int = Field(
        32 * KIB, ge=4 * KIB, description="SO_SNDBUF of a connection that carries a stream; Linux doubles it."
    )
    write_buffer_bytes: int = Field(
        16 * KIB, ge=KIB, description="How much of an answer may wait for the socket before its producer waits, too."
    )

    @field_validator("http")
    @classmethod
    def _address(cls, value: str) -> str:
        return address.checked(value, unix=False)

    @field_validator("upstream")
    @classmethod
    def _target(cls, value: str) -> str:
        return value if TARGET_FORM.fullmatch(value) else address.checked(value)

    @property
    def prefix(self) -> str:
        """The base path without a slash at its end; empty where there is none."""
        return self.base_path.rstrip("/")
