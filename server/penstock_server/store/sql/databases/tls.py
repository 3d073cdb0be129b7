"""How connections to a database are encrypted; the words are those of libpq."""

import ssl

from sqlalchemy import URL

from penstock_server.store.errors import StoreError
from penstock_server.store.sql.databases.url import option

REQUIRED = "it takes encrypted connections only: set sslmode to require, verify-ca or verify-full"
"""What is wrong where a database turns a connection away that is not encrypted."""


def context(url: URL) -> ssl.SSLContext | None:
    """What `sslmode` and `sslrootcert` of an address ask for; None for a connection that is not encrypted.

    Raises:
        StoreError: the root certificate cannot be read.
    """
    mode, root_certificate = option(url, "sslmode"), option(url, "sslrootcert")
    if mode in ("", "disable"):
        return None
    try:
        made = ssl.create_default_context(cafile=root_certificate or None)
    except OSError as error:
        raise StoreError(f"the certificate {root_certificate} cannot be read: {error.strerror or error}") from None
    made.check_hostname = mode == "verify-full"
    if mode == "require":
        made.verify_mode = ssl.CERT_NONE
    return made
