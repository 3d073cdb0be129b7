"""The flows that every subject serves; none does any work of its own, so that what is measured is the service."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

TOKENS = 200
"""How many tokens `tokens` yields."""

PACE_S = 0.02
"""The time between two tokens of `paced`: 50 tokens/s."""

CHUNK = "x" * 1024
"""What `endless` yields, for ever."""

FIRST_TOKEN = "first "
"""What `idle` yields before it falls silent."""

_endless_running = 0


async def echo(text: str) -> str:
    """The text that it is given."""
    return text


async def chat(question: str, chat_history: list[Any]) -> str:
    """The question, in a flow that remembers."""
    return question


async def tokens() -> AsyncIterator[str]:
    """As many tokens as the service takes, with a turn of the event loop after each."""
    for number in range(TOKENS):
        yield f"token{number:03} "
        await asyncio.sleep(0)


async def paced(count: int) -> AsyncIterator[str]:
    """`count` tokens at a steady pace; each says when it was due, in nanoseconds of the monotonic clock.

    A token says when it was due, not when it was yielded: a service so busy that its flows run late has delayed them.
    """
    start_ns = time.monotonic_ns()
    for number in range(count):
        due_ns = start_ns + int(number * PACE_S * 1e9)
        await asyncio.sleep(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
        yield f"{due_ns};"


async def stamped(delay_s: float) -> AsyncIterator[str]:
    """One token after `delay_s`; it says when the flow began and when it yielded, in monotonic nanoseconds."""
    start_ns = time.monotonic_ns()
    await asyncio.sleep(delay_s)
    yield f"{start_ns};{time.monotonic_ns()}"


async def idle() -> AsyncIterator[str]:
    """One token, and then nothing, for ever."""
    yield FIRST_TOKEN
    await asyncio.get_running_loop().create_future()


async def endless() -> AsyncIterator[str]:
    """Chunks without end."""
    global _endless_running
    _endless_running += 1
    try:
        while True:
            yield CHUNK
            await asyncio.sleep(0)
    finally:
        _endless_running -= 1


async def running() -> int:
    """How many executions of `endless` are alive in this process."""
    return _endless_running
