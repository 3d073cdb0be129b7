"""Flows that leave a trace of their end in a file."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from penstock.flow import current_call


async def echo(text: str = "hi") -> str:
    return text


async def waits(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


async def endless(trace: str) -> AsyncIterator[str]:
    try:
        while True:
            yield "more " * 20
            await asyncio.sleep(0.001)
    finally:
        Path(trace).write_text(current_call.get().run)


async def silent(trace: str) -> AsyncIterator[str]:
    try:
        yield "first"
        await asyncio.Event().wait()
    finally:
        Path(trace).write_text(current_call.get().run)
