"""Flows that show how the server treats them."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar

caller = ContextVar("caller", default="nothing")
ended: list[str] = []
"""What has reached its `finally`."""


async def echo(text: str = "") -> str:
    return text


async def tokens(n: int = 100) -> AsyncIterator[str]:
    for number in range(n):
        yield f"{number} "
        await asyncio.sleep(0)


async def never() -> str:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("never")
    return ""


async def endless() -> AsyncIterator[str]:
    try:
        while True:
            yield "x" * 100
            await asyncio.sleep(0)
    finally:
        ended.append("endless")


async def hidden_context() -> str:
    return caller.get()


async def waits(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


async def cleans(seconds: float) -> str:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(seconds)
        ended.append("cleans")
    return ""
