"""Cross-origin calls from web pages (WHATWG Fetch §3.2), for the origins that the operator names."""

from penstock.status import Code
from penstock_bridge.cursor import LAST_EVENT_ID
from penstock_bridge.deferral import LOCATION
from penstock_bridge.errors import Header, problem
from penstock_bridge.metadata import PASSED_ON, RETURNED, TIMEOUT
from penstock_bridge.reply import Answer, Reply
from penstock_bridge.request import Request

PREFLIGHT_AGE_S = 600

_REQUEST_HEADERS = ", ".join(("Accept", "Content-Type", LAST_EVENT_ID, TIMEOUT, *PASSED_ON))
_EXPOSED = ", ".join((*RETURNED.values(), LOCATION, "Retry-After", "WWW-Authenticate"))


class Cors:
    """Marks the answers that pages of other origins may read."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origins)
        self.enabled = bool(origins)

    def mark(self, request: Request) -> None:
        """Adds the headers that let the page of an allowed origin read the answer."""
        origin = request.headers.get("Origin", "")
        if not self._any:
            request.extra_headers.append(("Vary", "Origin"))
        if self._allows(origin):
            allowed = "*" if self._any else origin
            request.extra_headers += [
                ("Access-Control-Allow-Origin", allowed),
                ("Access-Control-Expose-Headers", _EXPOSED),
            ]

    def is_preflight(self, request: Request) -> bool:
        """Whether a browser asks, for a page of an allowed origin, what it may send."""
        return (
            request.method == "OPTIONS"
            and "Access-Control-Request-Method" in request.headers
            and self._allows(request.headers.get("Origin", ""))
        )

    def preflight(self, methods: list[str]) -> Answer:
        """Answers a preflight for a path with these methods. Raises Problem where the path has none."""
        if not methods:
            raise problem(Code.NOT_FOUND, "PATH_NOT_FOUND", "There is nothing at this path")
        headers: list[Header] = [
            ("Access-Control-Allow-Methods", ", ".join(methods)),
            ("Access-Control-Allow-Headers", _REQUEST_HEADERS),
            ("Access-Control-Max-Age", str(PREFLIGHT_AGE_S)),
        ]
        return Reply(204, b"", headers)

    def _allows(self, origin: str) -> bool:
        return bool(origin) and (self._any or origin in self._origins)
