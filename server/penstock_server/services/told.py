"""A run's log as a stream tells it: batch after batch, for as long as the reader takes them."""

from collections.abc import AsyncIterator, Callable

from penstock_server.errors import ReaderStalled
from penstock_server.runs.events import Event, RunFinished
from penstock_server.runs.following import Log
from penstock_server.services.stall import StallWatch


class Told:
    """What one call tells of a run.

    Args:
        write_timeout_s: how long the reader may take nothing.
        give_up: called, once, when that time is over. The call itself cannot be ended from there: gRPC sends a status
            only behind what it has been given to send.
    """

    def __init__(self, write_timeout_s: float, log: Log, give_up: Callable[[ReaderStalled], None]) -> None:
        self._write_timeout_s = write_timeout_s
        self._log = log
        self._give_up = give_up
        self._stalled = False
        self.end: RunFinished | None = None
        """How the run ended, once that was told."""

    async def batches(self) -> AsyncIterator[list[Event]]:
        """The batches, each as the caller asks for it; it asks once what it got before was written."""
        with StallWatch(self._write_timeout_s, self._stall) as stall:
            while (events := await self._log.take()) is not None:
                if events and isinstance(last := events[-1], RunFinished):
                    self.end = last
                stall.writing()
                yield events
                stall.written()

    def raise_if_stalled(self, run: str) -> None:
        """Raises ReaderStalled where the reader was left behind."""
        if self._stalled:
            raise self._failure({"run": run})

    def _stall(self) -> None:
        """The reader takes nothing: it is left behind, with all that it has not taken."""
        self._stalled = True
        self._log.close()
        self._give_up(self._failure({}))

    def _failure(self, metadata: dict[str, str]) -> ReaderStalled:
        return ReaderStalled(f"the reader took nothing for {self._write_timeout_s:g} s", metadata=metadata)
