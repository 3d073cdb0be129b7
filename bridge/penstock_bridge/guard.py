"""Who may call: what is decided before a body is read. The server checks the token itself."""

from functools import lru_cache
from ipaddress import ip_address

from penstock.status import Code
from penstock_bridge.config import BridgeConfig
from penstock_bridge.errors import problem
from penstock_bridge.request import Request

_SCHEME = "bearer "
_SAFE_METHODS = ("GET", "HEAD")


class Guard:
    """Refuses calls that cannot be meant for this service."""

    def __init__(self, config: BridgeConfig) -> None:
        self._config = config
        self._trusts_host = lru_cache(maxsize=64)(self._host_is_ours)

    def check(self, request: Request, *, public: bool) -> None:
        """Lets a call pass, or raises.

        Args:
            request: the call.
            public: the method may be called without a token.

        Raises:
            Problem: TOKEN_INVALID, it carries no bearer token and needs one (RFC 6750); or NOT_ALLOWED, it carries
                none, and may be a web page's rather than its user's.
        """
        authorization = request.headers.get("Authorization")
        if authorization is not None and authorization[: len(_SCHEME)].lower() == _SCHEME:
            return
        if self._config.auth and not public:
            raise problem(Code.UNAUTHENTICATED, "TOKEN_INVALID", "Send the header `Authorization: Bearer <token>`")
        if not self._config.auth:
            self._check_page(request)

    def _check_page(self, request: Request) -> None:
        """Without a token, only the browser's own word tells a page of ours from any other page."""
        host = request.headers.get("Host", "")
        if not self._trusts_host(host):
            raise problem(
                Code.PERMISSION_DENIED,
                "NOT_ALLOWED",
                f"Calls without a token must name the service by its IP address or localhost, not by {host[:64]!r}; "
                "the bridge's `hosts` setting admits other names",
            )
        origin = request.headers.get("Origin")
        if origin is None or request.method in _SAFE_METHODS:
            return
        origins = self._config.cors_origins
        if origin.partition("://")[2] != host and origin not in origins and "*" not in origins:
            raise problem(
                Code.PERMISSION_DENIED, "NOT_ALLOWED", "Web pages of another origin may not call without a token"
            )

    def _host_is_ours(self, host: str) -> bool:
        name = _hostname(host)
        if name == "localhost" or name.endswith(".localhost") or name in self._config.hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def _hostname(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
