"""The ports of workers, which their supervisor binds once for all of them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from socket import socket

import click

from penstock.cli import bridge
from penstock_server.listener import cannot_listen
from penstock_server.ports import HeldPort, bind


@contextmanager
def http_sockets(address: str) -> Iterator[list[socket]]:
    """Sockets that are bound to an address within the block, for workers to listen on.

    Raises:
        click.ClickException: the address is in use, or none of this machine's.
    """
    try:
        sockets = bind(address)
    except (OSError, UnicodeError) as error:
        raise bridge.cannot_listen(address, error) from None
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()


@contextmanager
def grpc_address(address: str) -> Iterator[str]:
    """An address, with the port that it was given, which workers may share within the block.

    Raises:
        click.ClickException: the address is in use, or none of this machine's.
    """
    try:
        port = HeldPort(address)
    except (OSError, UnicodeError):
        raise click.ClickException(cannot_listen(address)) from None
    with closing(port):
        yield port.address
