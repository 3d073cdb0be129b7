"""Code on its way to a thread, and its result on its way back to the event loop."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from inspect import iscoroutine
from typing import Generic, TypeVar

logger = logging.getLogger("penstock.flows")

T = TypeVar("T")


class Job:
    """Code that waits for a thread, or is executed in one.

    Attributes:
        is_abandoned: whether nobody waits for it any more; set it to drop the code if its turn has not come.
    """

    def __init__(self, function: Callable[[], None], ended: Callable[[], None], mailbox: "Mailbox") -> None:
        self.is_abandoned = False
        self._function = function
        self._ended = ended
        self._mailbox = mailbox

    def run(self) -> None:
        """Executes the code in the calling thread."""
        if not self.is_abandoned:
            self._function()
            self._mailbox.put(self._ended)


class Call(Generic[T]):
    """One call of a function, with its result on its way back."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.done: asyncio.Future[tuple[T | None, BaseException | None]] = asyncio.get_running_loop().create_future()
        self._context: Context = copy_context()
        self._function = function
        self._value: T | None = None
        self._error: BaseException | None = None

    def execute(self) -> None:
        """Calls the function; in a thread."""
        try:
            self._value = self._context.run(self._function)
        except BaseException as raised:  # SystemExit in flow code is the run's failure, not the server's end
            self._error = raised

    def settle(self) -> None:
        """Hands the result over; on the event loop."""
        if not self.done.done():
            self.done.set_result((self._value, self._error))
        elif self._error is not None:
            report_lost(self._error)
        elif iscoroutine(self._value):
            self._value.close()


class Mailbox:
    """What threads want an event loop to call. However much comes at once, the loop is woken once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._is_told = False

    def put(self, call: Callable[[], None]) -> None:
        """Lets the loop call it soon; in any thread."""
        self._calls.append(call)
        if not self._is_told:  # a thread that finds it told has added its call before the loop looks
            self._is_told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self.loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._is_told = False
        while self._calls:
            call = self._calls.popleft()
            try:
                call()
            except Exception as error:
                self.loop.call_exception_handler({"message": f"{call} raised", "exception": error})


def report_lost(error: BaseException) -> None:
    """Logs what flow code raised when its run was over, for nobody is left to be told."""
    logger.warning("flow code raised %s after its run was cancelled", type(error).__name__, exc_info=error)
