"""Flows that tell which process executes them."""

import asyncio
import os
from collections.abc import AsyncIterator


async def pid() -> str:
    return str(os.getpid())


async def chat(question: str, chat_history: list[object]) -> str:
    return f"{len(chat_history) // 2}"


async def counts(seconds: float) -> AsyncIterator[str]:
    for number in range(10):
        yield f"{number} "
        await asyncio.sleep(seconds / 10)


async def waits(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


async def talks(question: str, chat_history: list[object]) -> AsyncIterator[str]:
    for word in question.split():
        yield f"{word} "
        await asyncio.sleep(0.2)
