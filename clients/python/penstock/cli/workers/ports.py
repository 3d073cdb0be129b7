"""The ports of workers, which their supervisor binds once for all of them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from socket import (
    AF_INET6,
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

import click

from penstock.cli import bridge
from penstock_server import app

NO_SUCH_FAMILY = (EADDRNOTAVAIL, EAFNOSUPPORT)
"""What a machine without IPv6 says where a name has an IPv6 address as well."""


@contextmanager
def http_sockets(address: str) -> Iterator[list[socket]]:
    """Sockets that are bound to an address within the block, for workers to listen on.

    Raises:
        click.ClickException: the address is in use, or none of this machine's.
    """
    try:
        sockets = _bound(address)
    except (OSError, UnicodeError) as error:
        raise bridge.cannot_listen(address, error) from None
    with _closing(sockets):
        yield sockets


@contextmanager
def grpc_address(address: str) -> Iterator[str]:
    """An address, with the port that it was given, which workers may share within the block.

    gRPC cannot listen on a socket that it did not open, so each worker binds the port itself (SO_REUSEPORT). What is
    bound here never listens: it is bound alone first, which shows whether somebody else is there, and keeps the port
    while no worker lives.

    Raises:
        click.ClickException: the address is in use, or none of this machine's.
    """
    try:
        sockets = _bound(address)
    except (OSError, UnicodeError):
        raise click.ClickException(app.cannot_listen(address)) from None
    with _closing(sockets):
        for each in sockets:
            each.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
        yield f"{address.rpartition(':')[0]}:{sockets[0].getsockname()[1]}"


def _bound(address: str) -> list[socket]:
    """A socket for each address of the host, all with the same port."""
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


def _bind(each: socket, place: tuple[object, ...]) -> None:
    """Binds a port that only old connections use, and lets nobody else do the same afterwards."""
    each.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    if each.family == AF_INET6:
        each.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
    each.bind(place)
    each.setsockopt(SOL_SOCKET, SO_REUSEADDR, 0)


@contextmanager
def _closing(sockets: list[socket]) -> Iterator[None]:
    try:
        yield
    finally:
        for each in sockets:
            each.close()
