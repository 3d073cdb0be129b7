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
        digests = [sha256(token.encode()).digest() for token in tokens]
        self._known = [(digest, Principal(f"token:{digest.hex()[:16]}")) for digest in digests]

    def authenticate(self, authorization: str | bytes | None) -> Principal:
        """The principal of an `Authorization` value.

        The time that the check takes tells nothing about the tokens: digests are compared, in constant time, with
        every known one.

        Raises:
            TokenInvalid: there is no value, it has another scheme, or the token is not known.
        """
        if not self._known:
            return ANONYMOUS
        if authorization is None:
            raise TokenInvalid("the call carries no token; send `Authorization: Bearer <token>`")
        text = authorization if isinstance(authorization, str) else authorization.decode("latin-1")
        scheme, _, token = text.partition(" ")
        if scheme.lower() != SCHEME or not token.strip():
            raise TokenInvalid("the Authorization header is not of the form `Bearer <token>`")
        digest = sha256(token.strip().encode()).digest()
        found = [principal for known, principal in self._known if compare_digest(known, digest)]
        if not found:
            raise TokenInvalid("the token is not known to this service")
        return found[0]
