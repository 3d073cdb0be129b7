"""The life of a serving process: the event loop, the signals, and what it says when it is ready."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import click

from penstock.cli.ready import ReadyFile
from penstock.secret import masked

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

REQUEST_LOGGERS = ("httpx", "httpx2")
"""Loggers that tell every request to a model, which is too much."""

logger = logging.getLogger("penstock")


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Executes `main` until it returns. The event that it gets is set by the first SIGTERM or SIGINT.

    A second signal ends the process at once.
    """
    _log_to_stderr()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_until_signalled(main))


class _MaskingFormatter(logging.Formatter):
    """Masks secrets in all that is logged, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in REQUEST_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


async def _until_signalled(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        logger.info("%s: stopping; a second one ends the process at once", number.name)
        stop.set()

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


def announce(lines: list[tuple[str, str]], ready: ReadyFile, facts: Mapping[str, str]) -> None:
    """Tells people on standard output, and programs in the ready file, that the process is ready."""
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        click.echo(f"  {name:<{width}}  {text}" if name else text)
    sys.stdout.flush()
    ready.write(facts)
