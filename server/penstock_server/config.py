"""Every setting of the server, with its unit and its default. `docs/configuration.md` is generated from here."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from penstock import address
from penstock_server.flows.flow import HISTORY_ROUNDS_MOST
from penstock_server.flows.media.guard import network_of

MEBIBYTE = 1024 * 1024


class ServerConfig(BaseModel):
    """The gRPC server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grpc: str = Field(
        "127.0.0.1:50051",
        description="Where the gRPC server listens: HOST:PORT (port 0 takes a free one) or unix:PATH.",
    )
    service: str = Field(
        "penstock",
        pattern=r"^[a-z][a-z0-9_-]{0,35}$",
        description="The name of this service: its tables in the store carry it, and health answers for it.",
    )
    tokens: tuple[str, ...] = Field(
        (), description="Bearer tokens that callers may present. None: a random one is made and shown."
    )
    tokens_file: str = Field(
        "", description="A file with one bearer token a line; empty lines and lines that start with # do not count."
    )
    auth: bool = Field(
        True, description="Whether callers must present a token. Without it the server listens on loopback only."
    )
    schema_public: bool = Field(
        True, description="Whether ListFlows, GetFlow and /openapi.json answer without a token."
    )
    message_bytes_max: int = Field(
        4 * MEBIBYTE, ge=1024, description="The largest request message, in bytes; HTTP bodies included."
    )
    answer_bytes_max: int = Field(
        16 * MEBIBYTE,
        ge=1024,
        description="The largest message that is sent, in bytes. gRPC clients refuse over 4 MiB unless told otherwise. "
        "A longer answer of a flow is kept whole and listed shortened, so this should be above run_log_bytes_max.",
    )
    metadata_bytes_max: int = Field(
        8 * 1024,
        ge=1024,
        le=16 * 1024,
        description="The most metadata of a call, in bytes. gRPC itself refuses more than 16 KiB.",
    )
    calls_max: int = Field(
        12_000,
        ge=1,
        description="How many calls may be open at once, over gRPC and HTTP, in each process; more are refused "
        "(TOO_MANY_RUNS). Probes are not counted.",
    )
    connection_idle_s: float = Field(
        600.0, gt=0, description="How long a gRPC connection without calls is kept, in seconds."
    )
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="How many processes serve. Limits and pool sizes are those of each; more than one cannot share a "
        "unix: address.",
    )
    runs_max: int = Field(10_000, ge=1, description="How many runs execute at once, in each process; more wait.")
    user_runs_max: int = Field(
        0, ge=0, description="How many runs of one user execute at once, in each process; more wait. 0 sets no limit."
    )
    queue_max: int = Field(
        1000, ge=0, description="How many runs may wait for a place, in each process; more are refused (TOO_MANY_RUNS)."
    )
    session_queue_max: int = Field(
        16, ge=0, description="How many runs of one session may wait for those before them; more are refused."
    )
    queue_wait_s: float = Field(
        300.0, gt=0, description="How long a run may wait, in seconds, before it ends as FAILED (SESSION_BUSY)."
    )
    disconnect_grace_s: float = Field(
        30.0,
        ge=0,
        description="How long a run goes on that nobody follows any more, in seconds, where it may be resumed.",
    )
    resume_window_s: float = Field(
        600.0, ge=0, description="How long a run's events are kept after its end, in seconds, to be resumed from."
    )
    lease_s: float = Field(
        15.0,
        gt=0,
        description="After how long a silence, in seconds, an instance is dead for the others on the same database, "
        "which then end its runs. It must be the same for all of them.",
    )
    run_window_bytes: int = Field(
        128 * 1024,
        ge=16 * 1024,
        description="How much of a run's events may lie unread, in bytes, before the flow has to wait.",
    )
    run_log_bytes_max: int = Field(
        15 * MEBIBYTE, ge=16 * 1024, description="How much a run may produce in all, in bytes of events."
    )
    write_timeout_s: float = Field(
        30.0, gt=0, description="How long a reader may take nothing, in seconds, before its call is given up."
    )
    drain_s: float = Field(
        30.0, ge=0, description="How long live runs may go on, in seconds, once the server was asked to stop."
    )
    sync_threads_max: int = Field(
        128, ge=1, description="How many threads execute blocking code of flows; the rest queues."
    )
    node_log_bytes_max: int = Field(64 * 1024, ge=0, description="How much of what a node prints is kept, in bytes.")
    error_text: bool = Field(
        True, description="Whether callers see the text of an exception that a flow raised. The log always has it."
    )
    data: str = Field(".penstock", description="The folder where the service keeps what it must remember.")
    store: str = Field(
        "",
        description="Where runs and what is said in them are kept: sqlite:///PATH, "
        "mysql://USER:PASSWORD@HOST/DATABASE, postgresql://USER:PASSWORD@HOST/DATABASE, connection:NAME, or none "
        "(--no-store). Not given: chat_history.db in the data folder.",
    )
    migrate: bool = Field(True, description="Whether the store's tables are made and brought up to date at start.")
    store_pool_size: int = Field(
        16,
        ge=3,
        description="How many connections to MySQL or PostgreSQL a process has at most; with PostgreSQL, one more "
        "listens for changes.",
    )
    store_timeout_s: float = Field(
        1.0, gt=0, description="How long the store may take to answer, in seconds, before calls fail as UNAVAILABLE."
    )
    search_timeout_s: float = Field(
        10.0,
        gt=0,
        description="How long a search in the store, or a page of an export, may take, in seconds, before it fails as "
        "DEADLINE_EXCEEDED. A few are under way at once; they keep no connections from other calls.",
    )
    history: bool = Field(True, description="Whether runs of chat flows are kept as turns of their sessions.")
    history_rounds_max: int = Field(
        10,
        ge=0,
        le=HISTORY_ROUNDS_MOST,
        description="How many earlier rounds of its session a chat flow gets, unless it says so itself.",
    )
    history_keep_days: int = Field(
        0, ge=0, description="How many days sessions and runs are kept after their last update; 0 for ever."
    )
    sweep_interval_s: float = Field(
        3600.0, gt=0, description="How often the store is looked through for what is past its time, in seconds, about."
    )
    idempotency_window_s: float = Field(
        86_400.0, gt=0, description="How long an Idempotency-Key stands for its run, in seconds."
    )
    media_bytes_max: int = Field(
        16 * MEBIBYTE,
        ge=1024,
        description="The largest image or file among a flow's inputs, in bytes; and the most fetched for a call.",
    )
    fetch_timeout_s: float = Field(
        20.0, gt=0, description="How long it may take to fetch an image or a file that an input names, in seconds."
    )
    outbound_networks: tuple[str, ...] = Field(
        (),
        description="Networks, such as `10.1.0.0/16`, from which images and files may be fetched although they are not "
        "of the public internet. None by default: callers name the addresses.",
    )
    connections: str = Field(
        "", description="A file of connections; it goes before the connections.yaml of flows and of the data folder."
    )
    model_timeout_s: float = Field(
        300.0,
        gt=0,
        description="How long a model may say nothing, in seconds: until its answer begins, and between two pieces.",
    )
    telemetry: bool = Field(
        False,
        description="Whether calls make OpenTelemetry spans (needs penstock[telemetry]; OTEL_* configures it).",
    )

    @field_validator("grpc")
    @classmethod
    def _address(cls, value: str) -> str:
        return address.checked(value)

    @field_validator("outbound_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            network_of(network)
        return value
