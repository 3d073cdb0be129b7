"""A worker, as its supervisor sees it."""

import asyncio
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from contextlib import suppress
from socket import socketpair
from typing import Self

from penstock.cli.lifetime import Announcement
from penstock.cli.workers.messages import BYTES_MAX, Orders, Report, decoded, encoded

MODULE = "penstock.cli.workers.worker"


class StartFailed(Exception):
    """A worker did not get ready; the message says why."""


class WorkerProcess:
    """A process that was started for `orders`, made by `start`."""

    def __init__(
        self, orders: Orders, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._orders = orders
        self._process = process
        self._reader = reader
        self._writer = writer
        self._began = time.monotonic()
        self.lived_s = 0.0
        """From its start to its end; known after `ended`."""

    @classmethod
    async def start(cls, orders: Orders) -> Self:
        """Starts a new process, and gives it its orders. Raises OSError where the system does not let it."""
        ours, theirs = socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", MODULE, str(theirs.fileno())),
                stdin=DEVNULL,
                pass_fds=(theirs.fileno(), *orders.handles),
                start_new_session=True,  # what a terminal sends to all at once is for the supervisor
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=BYTES_MAX)
        writer.write(encoded(orders))
        return cls(orders, process, reader, writer)

    def __str__(self) -> str:
        return f"worker {self._orders.number} (process {self._process.pid})"

    async def ready(self) -> Announcement:
        """Waits until it is ready. Raises StartFailed."""
        with suppress(ConnectionError):
            if line := await self._reader.readline():
                report = decoded(Report, line)
                if report.announcement is not None:
                    return report.announcement
                raise StartFailed(report.failure)
        raise StartFailed(f"{self} ended before it was ready ({await self.ended()})")

    async def ended(self) -> str:
        """Waits for its end; returns what the system says of it."""
        status = await self._process.wait()
        self.lived_s = self.lived_s or time.monotonic() - self._began
        self._writer.close()
        return f"exit status {status}" if status >= 0 else signal.Signals(-status).name

    def stop(self) -> None:
        """Asks it to drain and to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
