"""The life of a serving process: the event loop, the signals, and what it says when it is ready."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import click

from penstock.cli.pauses import ShortPauses
from penstock.cli.ready import ReadyFile
from penstock.cli.scheduling import calm_poller
from penstock.secret import masked

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

REQUEST_LOGGERS = ("httpx", "httpx2")
"""Loggers that tell every request to a model, which is too much."""

logger = logging.getLogger("penstock")


Main = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
Insist = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a process has to tell once it is ready."""

    lines: list[tuple[str, str]]
    """For people: names with what is to be said of them; what has no name stands alone."""
    facts: dict[str, str]
    """For programs."""


Announce = Callable[[Announcement], None]


def run(main: Main, *, insist: Insist | None = os._exit, name: str = "", calls: bool = True) -> None:
    """Executes `main` until it returns. The event that it gets is set by the first SIGTERM or SIGINT.

    Args:
        insist: what a second signal does, with the exit code for it; None for nothing.
        name: what the log calls this process, where there are several.
        calls: whether this process takes or makes gRPC calls.
    """
    _log_to_stderr(name)
    if calls:
        calm_poller()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_until_signalled(main, insist))


class _MaskingFormatter(logging.Formatter):
    """Masks secrets in all that is logged, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def _log_to_stderr(process: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    mark = f" [{process}]" if process else ""
    handler.setFormatter(_MaskingFormatter(f"%(asctime)s %(levelname)s{mark} %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in REQUEST_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


async def _until_signalled(main: Main, insist: Insist | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled(number: signal.Signals) -> None:
        if not stop.is_set():
            logger.info("%s: stopping%s", number.name, "; a second one ends it at once" if insist else "")
            stop.set()
        elif insist is not None:
            insist(128 + number)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, signalled, number)
    await main(stop)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        from uvloop import new_event_loop
    except ImportError:  # it has no builds for every platform
        return asyncio.new_event_loop
    return new_event_loop


def settle() -> None:
    """Keeps what start-up has made out of the garbage collector's way: it lives as long as the process."""
    gc.collect()
    gc.freeze()
    ShortPauses()


def announce(told: Announcement, ready: ReadyFile) -> None:
    """Tells people on standard output, and programs in the ready file, that the process is ready."""
    width = max(len(name) for name, _ in told.lines)
    for name, text in told.lines:
        click.echo(f"  {name:<{width}}  {text}" if name else text)
    sys.stdout.flush()
    ready.write(told.facts)
