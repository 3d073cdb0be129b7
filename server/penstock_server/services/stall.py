"""Notices a reader that takes nothing."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self


class StallWatch:
    """Calls `give_up`, once, when a single write has taken `timeout_s` seconds.

    One timer serves a whole stream: it looks when the write that it finds going on began, so that a write costs two
    assignments.
    """

    def __init__(self, timeout_s: float, give_up: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._give_up = give_up
        self.stalled = False
        """Whether a write has taken too long."""
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._timer = self._loop.call_later(self._timeout_s, self._check)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def writing(self) -> None:
        """A write begins."""
        self._since = self._loop.time()

    def written(self) -> None:
        """The write is done."""
        self._since = None

    def _check(self) -> None:
        waited_s = 0.0 if self._since is None else self._loop.time() - self._since
        if waited_s >= self._timeout_s:
            self.stalled = True
            self._give_up()
        else:
            self._timer = self._loop.call_later(self._timeout_s - waited_s, self._check)
