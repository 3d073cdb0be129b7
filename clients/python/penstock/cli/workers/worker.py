"""A worker: a whole server, with its bridge, in a process of its own. Its supervisor starts it as `python -m`."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from socket import socket

import click

from penstock.cli import lifetime
from penstock.cli.flows import load
from penstock.cli.lifetime import Announcement
from penstock.cli.sample import sample_inputs
from penstock.cli.serve import serve_all
from penstock.cli.server import serve_grpc
from penstock.cli.workers.messages import Orders, Report, decoded, encoded


def main() -> None:
    """Serves what the supervisor orders, until it says so or is gone."""
    line = Line(int(sys.argv[1]))
    orders = line.orders()
    for handle in orders.handles:
        os.set_inheritable(handle, False)  # what flows start is not to keep them
    try:
        _serve(orders, line)
    except click.ClickException as error:
        line.report(Report(failure=error.format_message()))
        sys.exit(error.exit_code)


class Line:
    """The worker's end of the line between it and its supervisor. It breaks when either is gone."""

    def __init__(self, handle: int) -> None:
        self._socket = socket(fileno=handle)
        self._socket.set_inheritable(False)

    def orders(self) -> Orders:
        """Waits for the orders. Ends the process if the supervisor is gone."""
        with self._socket.makefile("rb") as file:
            said = file.readline()
        return decoded(Orders, said) if said.endswith(b"\n") else sys.exit(1)

    def report(self, report: Report) -> None:
        """Tells the supervisor how the start went."""
        with suppress(ConnectionError):  # it is gone, which `watch` tells
            self._socket.sendall(encoded(report))

    def watch(self, broken: Callable[[], None]) -> None:
        """Calls `broken`, once, when the supervisor is gone; it says no more than its orders."""
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(self._socket)
            broken()

        loop.add_reader(self._socket, gone)


def _serve(orders: Orders, line: Line) -> None:
    service = orders.service
    flows = load(service.flows, service.server)
    inputs = None if service.bridge is None else sample_inputs(flows[0])
    sockets = [socket(fileno=handle) for handle in orders.http]

    async def serve(stop: asyncio.Event) -> None:
        def orphaned() -> None:
            if not stop.is_set():
                lifetime.logger.warning("the supervisor is gone: stopping")
                stop.set()

        def announce(announcement: Announcement) -> None:
            line.report(Report(announcement=announcement))

        line.watch(orphaned)
        if service.bridge is None:
            await serve_grpc(stop, service, flows, announce, worker=True)
        else:
            await serve_all(stop, service, flows, inputs, announce, sockets=sockets)

    # A supervisor that insists ends its workers itself, and systemd sends signals to all of them at once.
    lifetime.run(serve, insist=None, name=f"worker {orders.number}")


if __name__ == "__main__":
    main()
