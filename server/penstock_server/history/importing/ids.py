"""Ids of other systems, as Penstock's own have to look (contract: Metadata and headers)."""

from hashlib import sha256
from urllib.parse import quote

from penstock_server.history.importing.entries import EntryRefused
from penstock_server.metadata import SESSION_ID_FORM, USER_ID_FORM

IMPORTED = "imported-"
DIGEST_CHARS = 48
PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
"""What stands for itself in a user's id."""


def session_id(name: str, prefix: str = "") -> str:
    """The id of the session that is called `name` elsewhere; always the same for the same name.

    A name that has the form of a session id, with the prefix before it, is kept. Any other gets an id that is made from
    it and cannot be told by people.
    """
    wanted = prefix + name
    if SESSION_ID_FORM.fullmatch(wanted):
        return wanted
    return IMPORTED + sha256(wanted.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARS]


def user_id(name: str) -> str:
    """The id of the user who is called `name` elsewhere: other characters than printable ASCII are percent-encoded.

    Raises:
        EntryRefused: it is too long, or begins or ends with a space.
    """
    encoded = quote(name, safe=PRINTABLE, errors="surrogatepass") if not name.isascii() else name
    if encoded and not USER_ID_FORM.fullmatch(encoded):
        raise EntryRefused(f"the user {name[:80]!r} is no user id: 1 to 255 printable characters, no outer spaces")
    return encoded
