"""What an operator may set of the flow engine."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """Limits of the flow engine. One instance counts for all flows that are loaded together."""

    sync_threads_max: int = 128
    """How many threads execute blocking flow code at once; further code waits for its turn, first come first served."""

    close_wait_s: float = 2.0
    """How long closing the flows waits for blocking code to end; after that the code is left behind."""

    cancel_wait_s: float = 5.0
    """How long a cancelled run waits for the asynchronous code of its nodes to clean up."""

    node_log_bytes_max: int = 64 * 1024
    """How much of what a node prints is kept in its record; the rest is only passed through."""

    error_text: bool = True
    """Whether callers see the text of exceptions that flow code raises; without it they see the exception's type."""

    connections: str = ""
    """The operator's file of connections; empty for none."""

    data: str = ".penstock"
    """The data folder; it may hold a file of connections, too."""

    model_timeout_s: float = 300.0
    """How long a model may say nothing: until its answer begins, and between two pieces of it."""

    document_bytes_max: int = 512 * 1024
    """How large a flow's YAML document may be."""

    media_bytes_max: int = 16 * 1024 * 1024
    """How large an image or a file among the inputs may be, and all together that are fetched for a call."""

    media_max: int = 16
    """How many images and files are fetched for one call at most."""

    fetch_timeout_s: float = 20.0
    """How long it may take to fetch an image or a file that an input names."""

    fetches_max: int = 32
    """How many images and files are fetched at once; further ones wait."""

    outbound_networks: tuple[str, ...] = ()
    """Networks, such as `10.1.0.0/16`, that may be fetched from although they are not of the public internet."""

    snapshot_bytes_max: int = 64 * 1024 * 1024
    """How many bytes of a flow's files count towards its snapshot; of larger folders, sizes stand for the rest."""
