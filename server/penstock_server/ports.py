"""Addresses that are bound before anybody listens on them: bound alone, so that nobody else is there unnoticed."""

from contextlib import ExitStack
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from socket import (
    AF_INET6,
    AF_UNIX,
    AI_PASSIVE,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SOCK_STREAM,
    SOL_SOCKET,
    getaddrinfo,
    socket,
)

from penstock.address import UNIX_SCHEME

NO_SUCH_FAMILY = (EADDRNOTAVAIL, EAFNOSUPPORT)
"""What a machine without IPv6 says where a name has an IPv6 address as well."""


def bind(address: str) -> list[socket]:
    """A socket for each address of HOST:PORT, all with the same port; they do not listen yet.

    Raises:
        OSError, UnicodeError: the address is in use, or none of this machine's.
    """
    host, _, text = address.rpartition(":")
    port = int(text)
    sockets: list[socket] = []
    with ExitStack() as failed:
        for family, kind, protocol, _, place in getaddrinfo(host.strip("[]"), port, type=SOCK_STREAM, flags=AI_PASSIVE):
            try:
                each = failed.enter_context(socket(family, kind, protocol))
                _bind(each, (place[0], port, *place[2:]))
            except OSError as error:
                if error.errno in NO_SUCH_FAMILY and sockets:
                    continue
                raise
            sockets.append(each)
            port = each.getsockname()[1]
        failed.pop_all()
    return sockets


def somebody_answers(address: str) -> bool:
    """Whether a program listens on unix:PATH. A path that another has left behind answers nobody."""
    path = address.removeprefix(UNIX_SCHEME).removeprefix("//")
    with socket(AF_UNIX, SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(path)
        except BlockingIOError:
            return True  # it has as many callers waiting as it may
        except OSError:
            return False
    return True


class HeldPort:
    """A port that servers of this user may share until it is closed.

    gRPC cannot listen on a socket that it did not open, so each server binds the port itself (SO_REUSEPORT). What is
    bound here never listens: it is bound alone first, which shows whether somebody else is there, and keeps the port
    while no server lives.

    Raises:
        OSError, UnicodeError: the address is in use, or none of this machine's.
    """

    def __init__(self, address: str) -> None:
        self._sockets = bind(address)
        for each in self._sockets:
            each.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
        self.address = f"{address.rpartition(':')[0]}:{self._sockets[0].getsockname()[1]}"
        """The address, with the port that it was given."""

    def close(self) -> None:
        """Lets go of the port."""
        for each in self._sockets:
            each.close()


def _bind(each: socket, place: tuple[object, ...]) -> None:
    """Binds a port that only old connections use, and lets nobody else do the same afterwards."""
    each.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    if each.family == AF_INET6:
        each.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
    each.bind(place)
    each.setsockopt(SOL_SOCKET, SO_REUSEADDR, 0)
