"""Starts workers, replaces those that end, and passes on that all are to stop."""

import asyncio
import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from socket import socket
from typing import Any

import click

from penstock.address import UNIX_SCHEME
from penstock.cli import lifetime
from penstock.cli.lifetime import Announcement, logger
from penstock.cli.ready import ReadyFile
from penstock.cli.service import Service
from penstock.cli.store import possessed
from penstock.cli.workers.messages import Orders
from penstock.cli.workers.ports import grpc_address, http_sockets
from penstock.cli.workers.process import StartFailed, WorkerProcess

PAUSE_FIRST_S = 0.5
"""How long a worker's place stays empty at first; each time that one ends soon again, it is twice as long."""
PAUSE_MOST_S = 30.0
STEADY_S = 60.0
"""A worker that ends after this long did not end soon."""


def supervise(service: Service, ready: ReadyFile) -> None:
    """Serves with the number of workers that the settings name, until a signal ends all of them.

    Raises:
        click.ClickException: it cannot start.
    """
    address = service.server.grpc
    if address.startswith(UNIX_SCHEME):
        raise click.UsageError(
            f"workers cannot share {address}: give them a port with --grpc HOST:PORT, or start one with --workers 1"
        )
    with ExitStack() as held:
        server = service.server.model_copy(update={"grpc": held.enter_context(grpc_address(address))})
        sockets = [] if service.bridge is None else held.enter_context(http_sockets(service.bridge.http))
        supervisor = Supervisor(replace(service, server=server), sockets, ready)
        lifetime.run(supervisor.run, insist=supervisor.insist, name="supervisor", calls=False)


class Supervisor:
    """Keeps the workers of a service alive.

    Args:
        sockets: bound ones for HTTP, which it closes when it is to stop.
    """

    def __init__(self, service: Service, sockets: list[socket], ready: ReadyFile) -> None:
        self._service = service
        self._sockets = sockets
        self._ready = ready
        self._workers: dict[int, WorkerProcess] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until it is to stop, and returns when every worker has ended.

        Raises:
            click.ClickException: the service cannot start.
        """
        possession = await possessed(self._service.server)
        try:
            posts = self._posts(possession)
            if await self._started(posts, stop):
                await self._kept(posts, stop)
        except StartFailed as failure:
            raise click.ClickException(str(failure)) from None
        finally:
            self._stop()
            await asyncio.gather(*(worker.ended() for worker in self._workers.values()))
            for handle in possession:
                os.close(handle)

    def insist(self, code: int) -> None:
        """Ends the workers and this process at once."""
        for worker in self._workers.values():
            worker.kill()
        os._exit(code)

    def _posts(self, possession: tuple[int, ...]) -> list[Orders]:
        config = self._service.server.model_copy(update={"migrate": False})  # the tables are up to date by now
        service = replace(self._service, server=config)
        http = tuple(each.fileno() for each in self._sockets)
        return [
            Orders(number=number, service=service, http=http, possession=possession)
            for number in range(1, config.workers + 1)
        ]

    async def _started(self, posts: list[Orders], stop: asyncio.Event) -> bool:
        """Starts all, and tells when they are ready; False if it is to stop before. Raises StartFailed."""
        for orders in posts:
            self._workers[orders.number] = await WorkerProcess.start(orders)
        starting = asyncio.gather(*(worker.ready() for worker in self._workers.values()))
        stopping = asyncio.ensure_future(stop.wait())
        either: list[asyncio.Future[Any]] = [starting, stopping]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return False
        lifetime.announce(_of_all(starting.result()), self._ready)
        return True

    async def _kept(self, posts: list[Orders], stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for orders in posts:
                group.create_task(self._keep(orders, stop))
            await stop.wait()
            self._stop()

    async def _keep(self, orders: Orders, stop: asyncio.Event) -> None:
        """Replaces a worker each time that it ends."""
        pause_s = PAUSE_FIRST_S
        while True:
            worker = self._workers[orders.number]
            status = await worker.ended()
            if stop.is_set():
                return
            if worker.lived_s >= STEADY_S:
                pause_s = PAUSE_FIRST_S
            logger.warning("%s ended (%s); another takes its place in %g s", worker, status, pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)
                return
            pause_s = min(2 * pause_s, PAUSE_MOST_S)
            await self._replace(orders, stop)

    async def _replace(self, orders: Orders, stop: asyncio.Event) -> None:
        try:
            worker = self._workers[orders.number] = await WorkerProcess.start(orders)
            if stop.is_set():
                worker.stop()
            await worker.ready()
            logger.info("%s is ready", worker)
        except (OSError, StartFailed) as error:
            if not stop.is_set():
                logger.error("worker %d could not be replaced: %s", orders.number, error)

    def _stop(self) -> None:
        """Asks all to drain and to end. Once no worker listens, nobody is left to take connections for."""
        for each in self._sockets:
            each.close()
        for worker in self._workers.values():
            worker.stop()


def _of_all(announcements: list[Announcement]) -> Announcement:
    """Workers tell the same: the addresses are those of all of them."""
    first = announcements[0]
    heading, *lines = first.lines
    return replace(first, lines=[heading, ("workers", str(len(announcements))), *lines])
