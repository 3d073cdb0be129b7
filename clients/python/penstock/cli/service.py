"""What is to be served, and how, as the command line has resolved it."""

from dataclasses import dataclass

from penstock.cli.tokens import Tokens
from penstock_bridge.config import BridgeConfig
from penstock_server.config import ServerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, in however many processes."""

    flows: tuple[str, ...]
    """Folders, or `module:callable`; the first is the default flow."""
    server: ServerConfig
    bridge: BridgeConfig | None
    """None for gRPC alone."""
    tokens: Tokens
