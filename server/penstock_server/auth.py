"""From a call's credential to its Principal."""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from penstock_server.errors import TokenInvalid

SCHEME = "bearer"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, as far as the server can prove it."""

    name: str
    """Tells principals apart without telling a secret: a digest of the token, or `anonymous`."""


ANONYMOUS = Principal("anonymous")

current_principal: ContextVar[Principal] = ContextVar("penstock_principal", default=ANONYMOUS)
"""Who makes the call that the current task answers."""


class Authenticator:
    """Checks bearer tokens (RFC 6750).

    Args:
        tokens: the tokens that are known. None at all: every caller is let in, as `anonymous`.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._known = [(token.encode(), Principal(f"token:{_digest(token)}")) for token in tokens]

    def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` value.

        The time that the check takes tells nothing about the tokens but their lengths: each is compared in constant
        time.

        Raises:
            TokenInvalid: there is no value, it has another scheme, or the token is not known.
        """
        if not self._known:
            return ANONYMOUS
        if authorization is None:
            raise TokenInvalid("the call carries no token; send `Authorization: Bearer <token>`")
        scheme, _, token = authorization.partition(" ")
        presented = token.strip().encode()
        if scheme.lower() != SCHEME or not presented:
            raise TokenInvalid("the Authorization header is not of the form `Bearer <token>`")
        found = [principal for known, principal in self._known if compare_digest(known, presented)]
        if not found:
            raise TokenInvalid("the token is not known to this service")
        return found[0]


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()[:16]
