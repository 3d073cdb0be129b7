"""Where a server listens, or is reached: `HOST:PORT`, or `unix:PATH`."""

PORT_MAX = 65535
UNIX_SCHEME = "unix:"


def checked(address: str, *, unix: bool = True) -> str:
    """The address, if it is one. gRPC itself would take a port modulo 2^16, and a name without a port.

    Raises:
        ValueError: it is not `HOST:PORT` with a port that exists, nor, where `unix` allows it, `unix:PATH`.
    """
    if unix and address.startswith(UNIX_SCHEME) and address != UNIX_SCHEME:
        return address
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and int(port) <= PORT_MAX):
        raise ValueError(f"should be HOST:PORT with a port up to {PORT_MAX}" + (", or unix:PATH" if unix else ""))
    return address
