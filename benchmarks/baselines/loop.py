"""What the bare baselines share with `penstock serve`: the event loop, and how a program says that it is ready."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

try:
    import uvloop

    LOOP = "uvloop"
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
except ImportError:
    LOOP = "asyncio"
    new_event_loop = None

Start = Callable[[], Awaitable[dict[str, str]]]


def serve(start: Start, ready_file: Path) -> None:
    """Runs `start`, which returns the addresses that it serves, and stays until SIGTERM."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(start, ready_file))


async def _serve(start: Start, ready_file: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    addresses = await start()
    unfinished = ready_file.with_suffix(".part")
    unfinished.write_text(json.dumps({**addresses, "pid": os.getpid()}))
    unfinished.rename(ready_file)
    await stop.wait()
